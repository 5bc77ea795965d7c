"""The page's answers as HTML. Every text that comes from outside is escaped here, and only here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from .latency import LatencySummary
from .policy import Policy
from .reasons import Route, percent
from .result import Result
from .tasks import Label, Task, TaskSet

APOLOGY = "Sorry, this message could not be analyzed. Please try again in a moment."

#: What each priority means, in words.
PRIORITY_WORDS = {"P1": "at once", "P2": "next", "P3": "soon", "P4": "when there is time"}
PRIORITY_TONES = {"P1": "bad", "P2": "warn", "P3": "neutral", "P4": "neutral"}

#: Codes of the reasons that explain the details of a route instead of its action.
ASIDE = frozenset({"queue", "priority"})

#: Words shown from the end of the part of a long message that was read.
LAST_WORDS = 6

#: Mended words that are named.
SLIPS = 5

#: `gr.HTML` fills values into templates (`${...}`, `{{...}}`), so their signs are escaped as well.
_TEMPLATE_SIGNS = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;", "\x00": "\ufffd"})


def escape(text: object) -> str:
    """A text as HTML that shows it as it is: markup, template signs and broken characters do nothing."""
    readable = str(text).encode("utf-8", "replace").decode("utf-8")
    return html.escape(readable).translate(_TEMPLATE_SIGNS)


def header(tasks: TaskSet, model: str, notice: str = "") -> str:
    """The page's title and the model that answers.

    Args:
        tasks: What the model answers.
        model: The model in a few words.
        notice: Why another model than the one asked for answers; empty if it doesn't.
    """
    tone, alert = "good", ""
    if notice:
        tone, alert = "warn", f'<p class="notice tone-warn" role="alert">⚠️ {escape(notice)}</p>'
    return (
        f'<div class="masthead"><h1>Message desk <span class="desk">{escape(tasks.title)}</span></h1>'
        f'<p class="model"><span class="dot tone-{tone}" aria-hidden="true"></span>{escape(model)}</p></div>{alert}'
    )


def banner_waiting(tasks: TaskSet) -> str:
    """The banner before the first message: what the answer will tell.

    Args:
        tasks: What the model answers.
    """
    return _banner(
        "neutral",
        "📨",
        "Ready",
        "Type a message or pick an example. What to do with it, and why, appears here:",
        _reasons(task.question for task in tasks.tasks),
    )


def banner_hint(text: str) -> str:
    """The banner for a mistake that the visitor can mend.

    Args:
        text: What to do.
    """
    return _banner("neutral", "✏️", "Nothing to analyze yet", text)


def banner_failed() -> str:
    """The banner after a failure of ours. The visitor's part is only to try again."""
    return _banner("bad", "⚠️", "That did not work", APOLOGY)


def problem(text: str) -> str:
    """What is wrong with something that the visitor gave, in one sentence, for screen readers too.

    Args:
        text: What was given, what was expected and what to do.
    """
    return f'<p class="notice tone-bad" role="alert">⚠️ {escape(text)}</p>'


def _banner(tone: str, icon: str, title: str, text: str, more: str = "") -> str:
    return (
        f'<section class="route tone-{tone} quiet"><header><span class="route-icon" aria-hidden="true">{icon}</span>'
        f"<h2>{escape(title)}</h2></header><p>{escape(text)}</p>{more}</section>"
    )


def banner(
    result: Result,
    tasks: TaskSet,
    policy: Policy,
    *,
    text: str,
    part_read: str,
    slips: Sequence[tuple[str, str]] = (),
) -> str:
    """The route of a message: what to do, for whom, how soon, and why.

    Args:
        result: The answer.
        tasks: What the model answers.
        policy: What routed it.
        text: The message.
        part_read: The beginning of the message that the model read.
        slips: Words that were read as others, each with what it was read as.
    """
    route = result.route
    action = action_label(route.action, tasks, policy)
    facts = (
        ("Queue", escape(_title(route.queue)), "neutral"),
        ("Priority", f"{route.priority} · {PRIORITY_WORDS[route.priority]}", PRIORITY_TONES[route.priority]),
        ("Handled", "automatically" if route.automatic else "by a person", "neutral"),
    )
    return (
        f'<section class="route tone-{action.tone}"><header>'
        f'<span class="route-icon" aria-hidden="true">{escape(action.icon)}</span>'
        f'<h2>{escape(action.title)}</h2></header><dl class="facts">'
        + "".join(f'<div class="chip tone-{tone}"><dt>{name}</dt><dd>{value}</dd></div>' for name, value, tone in facts)
        + "</dl>"
        + _reasons(reason.text for reason in route.reasons if reason.code not in ASIDE)
        + _aside(route)
        + _notices(result, tasks, text, part_read)
        + _read_as(slips)
        + "</section>"
    )


def _reasons(texts: Iterable[str]) -> str:
    return f'<ul class="reasons">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'


def _aside(route: Route) -> str:
    """What chose queue and priority, and the action that came second; opened on demand."""
    texts = [reason.text for reason in route.reasons if reason.code in ASIDE]
    if route.runner_up is not None:
        texts.append(f"Runner-up: {_title(route.runner_up.action).lower()}. {route.runner_up.lacked}")
    return f"<details><summary>Queue, priority and runner-up</summary>{_reasons(texts)}</details>" if texts else ""


def _notices(result: Result, tasks: TaskSet, text: str, part_read: str) -> str:
    found = []
    unsure = [task.name for task in tasks.tasks if result.confidence[task.name] < task.unsure_below]
    if unsure:
        shares = ", ".join(f"{_title(task).lower()} {percent(result.confidence[task])}" for task in unsure)
        found.append(f"🤔 The model is unsure: {shares}. Check the message before you act.")
    if result.truncated:
        last = " ".join(part_read[-400:].split()[-LAST_WORDS:])
        found.append(
            f"✂️ The message is long: only its first {len(part_read):,} of {len(text):,} characters were read, "
            f"up to “{last[-60:]}”. The rest did not count."
        )
    return "".join(f'<p class="notice tone-warn">{escape(notice)}</p>' for notice in found)


def _read_as(slips: Sequence[tuple[str, str]]) -> str:
    """Which words were taken for typos, so that a wrong guess can be seen."""
    if not slips:
        return ""
    told = ", ".join(f"“{word}” as “{meant}”" for word, meant in slips[:SLIPS])
    more = f" and {len(slips) - SLIPS} more" if len(slips) > SLIPS else ""
    return f'<p class="notice tone-neutral">🔤 Read {escape(told)}{more}.</p>'


def task_title(task: str, policy: Policy) -> str:
    """What the page calls a task. What the model recommends is told apart from what the policy decides.

    Args:
        task: The task's name.
        policy: What routes.
    """
    return _title(f"recommended_{task}" if task == policy.action_task else task)


def action_label(action: str, tasks: TaskSet, policy: Policy) -> Label:
    """How a decision is shown: as the label of the task that recommends actions, where there is one.

    Args:
        action: The action of a route.
        tasks: What the model answers.
        policy: What routed it.
    """
    if policy.action_task is not None:
        task = tasks.task(policy.action_task)
        if action in task.label_names:
            return task.label(action)
    return Label(action, "", "✅", "good") if action in policy.automatic else Label(action, "", "🙋", "warn")


def cards_waiting(tasks: TaskSet) -> str:
    """Empty cards in the place of the later ones, so that nothing moves when the answer comes.

    Args:
        tasks: What the model answers.
    """
    cards = [_card(task, '<p class="word">–</p><div class="bar"></div><p class="next"></p>') for task in tasks.tasks]
    return f'<div class="cards waiting">{"".join(cards)}{_speed_card(())}</div>'


def cards(result: Result, tasks: TaskSet, latency: LatencySummary) -> str:
    """One card for each task, and one for the time it took.

    Args:
        result: The answer.
        tasks: What the model answers.
        latency: The figures of this process.
    """
    shown = [_answered_card(task, result.labels[task.name], result.probabilities[task.name]) for task in tasks.tasks]
    own = [(step, _milliseconds(value)) for step, value in result.latency_ms.items() if step != "total"]
    process = [("median", _milliseconds(latency.median)), ("p95", _milliseconds(latency.p95))]
    meaning = f"Steps of this answer, then median and 95th percentile of {latency.count:,} answers"
    speed = _speed_card((*own, *process), _milliseconds(result.latency_ms["total"]), meaning)
    return f'<div class="cards">{"".join(shown)}{speed}</div>'


def _answered_card(task: Task, answer: str, shares: Mapping[str, float]) -> str:
    label, confidence = task.label(answer), shares[answer]
    other, other_share = max(((name, p) for name, p in shares.items() if name != answer), key=lambda pair: pair[1])
    unsure = confidence < task.unsure_below
    body = (
        f'<p class="word" title="{escape(label.description)}"><span aria-hidden="true">{escape(label.icon)}</span> '
        f'{escape(label.title)}</p><div class="bar" role="meter" aria-label="Confidence, {escape(task.name)}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{round(100 * confidence)}">'
        f'<span style="width:{100 * confidence:.1f}%"></span></div>'
        f'<p class="next">or {escape(_title(other).lower())} {percent(other_share)}</p>'
    )
    doubt = "<b>unsure</b> " if unsure else ""
    return _card(task, body, doubt + percent(confidence), f"tone-{label.tone}{' unsure' if unsure else ''}")


def _card(task: Task, body: str, share: str = "", classes: str = "tone-neutral") -> str:
    return (
        f'<article class="card {classes}" data-task="{escape(task.name)}" title="{escape(task.question)}">'
        f'<h3>{escape(_title(task.name))}</h3><p class="share">{share}</p>{body}</article>'
    )


def _speed_card(figures: Iterable[tuple[str, str]], total: str = "", meaning: str = "") -> str:
    """Milliseconds of this answer's steps, then of all answers of this process; at most six figures fit."""
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    return (
        f'<article class="card speed" title="{meaning}"><h3>Speed in ms</h3><p class="share">{total}</p>'
        f"<dl>{rows}</dl></article>"
    )


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _title(name: str) -> str:
    return Label(name).title
