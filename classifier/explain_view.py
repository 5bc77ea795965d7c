"""The page's view of an explanation: each task's words by weight, and what would change the route."""

from __future__ import annotations

from .explain import Explanation, Part
from .page import escape, task_title
from .policy import Policy
from .tasks import TaskSet

#: Weights from which a word is shown as strong, clear or slight; said in the legend.
STRONG, CLEAR, SLIGHT = 0.3, 0.1, 0.03

#: Class of each strength, its sign for people who don't see the colours, and what it means.
STRENGTHS = {
    "strong": ("▲▲", f"{STRONG:.0%} or more"),
    "clear": ("▲", f"{CLEAR:.0%} or more"),
    "slight": ("△", f"{SLIGHT:.0%} or more"),
    "against": ("▽", "speaks against the label"),
}


#: Stand in the place of an explanation before there is a message, and until it has come.
NO_MESSAGE = '<p class="fine">Analyze a message first, and the words that decided stand here.</p>'
WAITING = '<p class="fine" role="status">Leaving out each word in turn…</p>'


def explanation(found: Explanation, tasks: TaskSet, policy: Policy, text: str) -> str:
    """The explanation of one message as HTML.

    Args:
        found: The explanation.
        tasks: What the model answers.
        policy: What routed the message.
        text: The part of the message that was read.
    """
    rows = []
    for task in tasks.tasks:
        label = task.label(found.labels[task.name])
        rows.append(
            f'<div class="why-task"><h4>{escape(task_title(task.name, policy))}: <span aria-hidden="true">'
            f"{escape(label.icon)}</span> {escape(label.title)}</h4><p>{_words(found.parts, task.name, text)}</p></div>"
        )
    legend = "".join(
        f'<li><mark class="{name}">{sign} word</mark> {escape(meaning)}</li>'
        for name, (sign, meaning) in STRENGTHS.items()
    )
    return (
        f'<section class="why"><p class="proof"><b>What would change the decision.</b> {escape(found.proof)}</p>'
        f'{"".join(rows)}<ul class="legend" aria-label="Legend"><li>How far the confidence falls without the word:</li>'
        f"{legend}</ul></section>"
    )


def strength(weight: float) -> str:
    """How strongly a word is shown: one of STRENGTHS, or nothing for words that hardly matter.

    Args:
        weight: Fall of the label's probability without the word.
    """
    for name, least in (("strong", STRONG), ("clear", CLEAR), ("slight", SLIGHT)):
        if weight >= least:
            return name
    return "against" if weight <= -CLEAR else ""


def _words(parts: tuple[Part, ...], task: str, text: str) -> str:
    shown, end = [], 0
    for part in parts:
        weight = part.weights[task]
        name = strength(weight)
        word = escape(part.text)
        if name:
            points = f"{100 * weight:+.0f} points"
            # The hidden words stand behind the mark: inside, its border would follow them to the next line.
            word = (
                f'<mark class="{name}" title="{points}"><span aria-hidden="true">{STRENGTHS[name][0]}</span>{word}'
                f'</mark><span class="sr-only"> ({points})</span>'
            )
        shown.append(escape(text[end : part.start]) + word)
        end = part.end
    return "".join(shown)
