"""The training page's answers as HTML: the run, the data check, the report and the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from huggingface_hub import CommitInfo
from pandas import DataFrame

from .datacheck import DataCheck, Hardware
from .page import escape
from .trainer import Phase, RunState

#: Icon, words and tone of each phase.
PHASES: dict[Phase, tuple[str, str, str]] = {
    "idle": ("🧪", "No run yet", "neutral"),
    "running": ("⏳", "Training", "warn"),
    "stopped": ("⏸️", "Stopped", "neutral"),
    "failed": ("⚠️", "The run failed", "bad"),
    "done": ("✅", "Done", "good"),
}

ADVICE: dict[Phase, str] = {
    "idle": "Choose data and model, check the data, then start.",
    "running": "The run goes on when this page is closed. Come back at any time.",
    "stopped": "Its checkpoints are kept. Resume goes on from the newest one.",
    "failed": "Mend the cause and resume, or start anew.",
    "done": "The model is ready: read the report, compare it, push it.",
}

HEADER = (
    '<div class="masthead"><h1>Train a message classifier</h1>'
    '<p class="model">One run at a time; a second visitor sees the same run.</p></div>'
)
NOT_CHECKED = '<p class="fine">Shares of the labels, lengths, warnings, time and cost appear here.</p>'


def banner(state: RunState) -> str:
    """The run in one look.

    Args:
        state: The run's state.
    """
    icon, title, tone = PHASES[state.phase]
    facts: list[tuple[str, str]] = []
    if state.total and state.phase != "idle":
        share = state.step / state.total
        facts.append(("Step", f"{state.step:,} of {state.total:,} ({share:.0%})"))
    elif state.phase == "running":
        facts.append(("Step", "reading data and encoder"))
    if state.steps:
        facts.append(("Loss", f"{state.steps[-1]['loss']:.3f}"))
    if state.validations:
        best = max(line["score"] for line in state.validations)
        facts.append(("Best validation macro-F1", f"{best:.3f}"))
    if state.messages_per_second:
        facts.append(("Speed", f"{state.messages_per_second:,.0f} messages/s"))
    if state.seconds_left is not None:
        facts.append(("Time left", f"at most {duration(state.seconds_left)}"))
    if state.owner:
        facts.append(("Started by", state.owner))
    chips = "".join(
        f'<div class="chip tone-neutral"><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>' for name, value in facts
    )
    share = state.step / state.total if state.total else 0.0
    bar = f'<div class="bar"><span style="width:{100 * share:.1f}%"></span></div>' if state.phase != "idle" else ""
    error = f'<p class="notice tone-bad">{escape(state.error)}</p>' if state.error else ""
    return (
        f'<section class="route run tone-{tone}" role="status"><header><span class="route-icon" aria-hidden="true">'
        f"{icon}</span><h2>{title}</h2></header><p>{ADVICE[state.phase]}</p>{error}"
        f'<dl class="facts">{chips}</dl>{bar}</section>'
    )


def check(found: DataCheck, estimates: Sequence[tuple[Hardware, float, float | None]], note: str = "") -> str:
    """What the data hold, what to watch out for, and what a run would take.

    Args:
        found: The checked data.
        estimates: Hardware, seconds and dollars of a run.
        note: Why there are no estimates.
    """
    lengths = found.summary["characters"]
    read = sum(found.found.rows.values())
    parts = [
        f"<p>{read:,} rows read; {len(found.train):,} messages to train on, {len(found.validation):,} held out. "
        f"{found.found.duplicates:,} duplicates and {found.found.empty:,} rows without text were left out. "
        f"Length: half under {lengths['median']:,.0f} characters, 95 % under {lengths['p95']:,.0f}.</p>"
    ]
    parts += [f'<p class="notice tone-warn">⚠️ {escape(warning)}</p>' for warning in found.warnings]
    for task in found.tasks.tasks:
        shares = found.summary["tasks"][task.name]
        rows = "".join(
            f'<tr><th scope="row">{escape(label)}</th><td class="wide"><div class="bar"><span style="width:'
            f'{100 * share:.1f}%"></span></div></td><td>{share:.1%}</td></tr>'
            for label, share in shares["shares"].items()
        )
        caption = f"{escape(task.name)}: {shares['labelled']:,} labelled"
        parts.append(f'<table class="figures"><caption>{caption}</caption>{rows}</table>')
    if note:
        parts.append(f'<p class="notice tone-warn">⚠️ {escape(note)}</p>')
    if estimates:
        rows = "".join(
            f'<tr><th scope="row">{escape(hardware.title)}</th><td>{duration(seconds)}</td>'
            f"<td>{'' if dollars is None else 'free' if dollars == 0 else f'$ {dollars:.2f}'}</td></tr>"
            for hardware, seconds, dollars in estimates
        )
        parts.append(
            '<table class="figures"><caption>Time and cost of a run, roughly: the order of magnitude, without '
            f"start-up and validation, at list prices</caption>{rows}</table>"
        )
    return f'<div class="check">{"".join(parts)}</div>'


def losses(state: RunState, points: int = 400) -> DataFrame:
    """The loss over the steps as a moving mean.

    Args:
        state: The run's state.
        points: Most points to draw; of a longer run every n-th.

    Returns:
        Columns ``step`` and ``loss``.
    """
    every = max(len(state.steps) // points, 1)
    mean, rows = None, []
    for number, line in enumerate(state.steps):
        mean = line["loss"] if mean is None else 0.9 * mean + 0.1 * line["loss"]
        if number % every == 0 or number + 1 == len(state.steps):
            rows.append((line["step"], mean))
    # With the types named, an empty plot has number axes, too.
    return DataFrame(rows, columns=["step", "loss"]).astype({"step": int, "loss": float})


def scores(state: RunState) -> DataFrame:
    """Macro-F1 of each validation.

    Args:
        state: The run's state.

    Returns:
        Columns ``step``, ``macro-F1`` and ``task``, the mean over the tasks among them.
    """
    rows = [(line["step"], line["score"], "mean") for line in state.validations]
    rows += [
        (line["step"], values["macro_f1"], task) for line in state.validations for task, values in line["tasks"].items()
    ]
    return DataFrame(rows, columns=["step", "macro-F1", "task"]).astype({"step": int, "macro-F1": float, "task": str})


def pushed(commit: CommitInfo) -> str:
    """Where the model went.

    Args:
        commit: The push.
    """
    return f'<p class="notice tone-good">✅ Pushed to {escape(commit.repo_url)} (commit {escape(commit.oid[:7])}).</p>'


def report(data: Mapping[str, Any] | None) -> str:
    """The finished model's scores on each evaluated set.

    Args:
        data: The model folder's report, None before the end of a run.
    """
    if data is None:
        return '<p class="fine">The report appears when the run is done.</p>'
    parts = []
    for name, found in data["evaluation"].items():
        rows = [
            (task, f"{scores['accuracy']:.1%}", f"{scores['macro_f1']:.3f}") for task, scores in found["tasks"].items()
        ]
        parts.append(table(f"{name.replace('_', ', ')} (n = {found['n']:,})", ("task", "accuracy", "macro-F1"), rows))
    return f'<div class="check">{"".join(parts)}</div>'


def comparison(rows: Sequence[Mapping[str, Any]]) -> str:
    """The new model beside the current one, on the messages that were held out of the new one's training.

    Args:
        rows: Per task: n, accuracy of both, and the 95 % interval of the difference.
    """
    lines = []
    for row in rows:
        low, high = row["interval"]
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        lines.append(
            (
                row["task"],
                f"{row['n']:,}",
                f"{row['current']:.1%}",
                f"{row['new']:.1%}",
                f"{100 * (row['new'] - row['current']):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
                verdict,
            )
        )
    head = ("task", "messages", "current", "new", "difference in points (95 % interval)", "")
    return f'<div class="check">{table("Accuracy on the held-out messages", head, lines)}</div>'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of figures.

    Args:
        caption: What it shows.
        head: Names of the columns.
        rows: The cells; the first of each row names it.
    """
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<table class="figures"><caption>{escape(caption)}</caption><tr>{top}</tr>{body}</table>'


def duration(seconds: float) -> str:
    """A time for people: ``"40 s"``, ``"12 min"`` or ``"3.5 h"``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
