"""Why a message was answered as it was: the weight of each word, and what would change the route."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .changes import Change, Run, Span, decider, edited, enough, flips, noisy, smallest_change
from .errors import ClassifierError
from .policy import Policy
from .reasons import Route, words
from .rules import Probabilities

#: Most parts that a message is cut into; in longer ones some neighbouring words are one part.
MAX_PARTS = 64


@dataclass(frozen=True)
class Part:
    """A word of the message, or some neighbouring ones where the message is long.

    Attributes:
        text: As written.
        start: Where it begins in the message, in characters.
        end: Where it ends.
        weights: Task to how much the probability of the task's label falls when the part is left out, -1 to 1.
    """

    text: str
    start: int
    end: int
    weights: dict[str, float]


@dataclass(frozen=True)
class Explanation:
    """Why a message was answered as it was.

    Attributes:
        labels: Task to the label that the weights speak of.
        parts: The words in their order.
        route: The route, with `fragile` set.
        change: What changes the action: a change that means nothing if there is one, else the smallest edit
            found; None when none of those tried does.
        edits_tried: How many edits were run.
    """

    labels: dict[str, str]
    parts: tuple[Part, ...]
    route: Route
    change: Change | None
    edits_tried: int

    @property
    def proof(self) -> str:
        """What would change the route, in one sentence."""
        if self.change is None:
            return (
                f"None of {self.edits_tried} small edits (up to three words dropped, a phrase made calmer, case, "
                f"marks, typos) changes the action “{words(self.route.action)}”."
            )
        before, after = words(self.change.before), words(self.change.action)
        return f"{self.change.edit} the action changes from “{before}” to “{after}”."

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain data, as `/explain` returns it."""
        return {
            "labels": self.labels,
            "words": [
                {
                    "text": part.text,
                    "start": part.start,
                    "end": part.end,
                    "weights": {task: round(weight, 4) for task, weight in part.weights.items()},
                }
                for part in self.parts
            ],
            "route": self.route.to_dict(),
            "proof": self.proof,
            "change": self.change and asdict(self.change),
            "edits_tried": self.edits_tried,
        }


def explain(text: str, run: Run, policy: Policy, rest: str = "") -> Explanation:
    """Explain the answer to a message.

    The weights are found by occlusion (Zeiler and Fergus 2014; for words, Li et al. 2016): the message is run
    once more without each word, all in one batch. `faithful.faithfulness` measures how far they can be trusted.

    Args:
        text: The message, or the part of it that the model reads.
        run: What runs the model, such as `Classifier.probabilities`.
        policy: What routes.
        rest: What follows that part; the policy's terms are looked for there too.

    Raises:
        ClassifierError: The message holds nothing to read.
    """
    spans, doubts = word_spans(text), noisy(text)
    full, *found = run([text, *(edited(text, {span: ""}) for span in spans), *(other for _, other in doubts)])
    singles, others = found[: len(spans)], found[len(spans) :]
    parts = _parts(text, spans, full, singles)
    decide = decider(policy, rest)
    action = decide(full, text)
    changes = flips(doubts, others, decide, action)
    route = policy.route(full, text + rest, fragile=enough(changes, doubts))
    change, tried = changes[0] if changes else None, 0
    if change is None:
        falls = [_fall(policy, action, full, less) for less in singles]
        order = sorted(range(len(parts)), key=falls.__getitem__, reverse=True)
        ordered, less = [spans[index] for index in order], [singles[index] for index in order]
        change, tried = smallest_change(text, ordered, less, run, decide, action)
    return Explanation(most_likely(full), parts, route, change, len(doubts) + tried)


def occlude(text: str, run: Run) -> tuple[Part, ...]:
    """Only the words of a message with the weight of each.

    Args:
        text: The message.
        run: What runs the model.

    Raises:
        ClassifierError: The message holds nothing to read.
    """
    spans = word_spans(text)
    full, *singles = run([text, *(edited(text, {span: ""}) for span in spans)])
    return _parts(text, spans, full, singles)


def word_spans(text: str) -> list[Span]:
    """Begin and end of each word, or of groups of neighbours where there are more than MAX_PARTS.

    Args:
        text: The message.

    Raises:
        ClassifierError: The message holds nothing to read.
    """
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    if not spans:
        raise ClassifierError("The message holds nothing to explain; write a few words.")
    size = -(-len(spans) // MAX_PARTS)
    groups = [spans[index : index + size] for index in range(0, len(spans), size)]
    return [(group[0][0], group[-1][1]) for group in groups]


def _fall(policy: Policy, action: str, full: Probabilities, less: Probabilities) -> float:
    """How far what speaks for an action falls without a word; without an action task, any task's label."""
    if policy.action_task is not None and action in full[policy.action_task]:
        return full[policy.action_task][action] - less[policy.action_task][action]
    return max(full[task][label] - less[task][label] for task, label in most_likely(full).items())


def most_likely(full: Probabilities) -> dict[str, str]:
    """The most probable label of each task."""
    return {task: max(shares, key=shares.__getitem__) for task, shares in full.items()}


def _parts(text: str, spans: Sequence[Span], full: Probabilities, singles: Sequence[Probabilities]) -> tuple[Part, ...]:
    labels, parts = most_likely(full), []
    for (start, end), less in zip(spans, singles, strict=True):
        weights = {task: full[task][label] - less[task][label] for task, label in labels.items()}
        parts.append(Part(text[start:end], start, end, weights))
    return tuple(parts)
