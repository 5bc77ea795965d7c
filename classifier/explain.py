"""Why a message was answered as it was: the weight of each word, the smallest change of route, doubt under noise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from .errors import ClassifierError
from .reasons import Route, words
from .routing import Policy
from .rules import Probabilities

#: Runs the model on some messages: `Classifier.probabilities`.
Run = Callable[[Sequence[str]], Sequence[Probabilities]]

#: Most parts that a message is cut into; in longer ones some neighbouring words are one part.
MAX_PARTS = 64

#: Words among which two or three are dropped together: those of the greatest weight.
CANDIDATES = 7

#: Phrases of pressure or anger, and what a calmer customer writes: tried as a change beside dropping words.
CALMER = {
    "asap": "when you can",
    "immediately": "when you can",
    "right now": "some time",
    "now": "some time",
    "today": "some day",
    "tonight": "some day",
    "tomorrow": "some day",
    "urgent": "not urgent",
    "emergency": "question",
    "unacceptable": "not ideal",
    "ridiculous": "not ideal",
    "worst": "not the best",
}

#: What is run when nothing to read would be left.
NOTHING = "."


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
class Change:
    """An edit of the message that changes its action, verified by running the edited message.

    Attributes:
        edit: What to change, for people.
        text: The edited message.
        action: Its action.
    """

    edit: str
    text: str
    action: str


@dataclass(frozen=True)
class Explanation:
    """Why a message was answered as it was.

    Attributes:
        labels: Task to the label that the weights speak of.
        parts: The words in their order.
        route: The route, with `fragile` set.
        change: The smallest edit found that changes the action; None when none of those tried does.
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
                f"None of {self.edits_tried} small edits (up to three words dropped, or a phrase made calmer) "
                f"changes “{words(self.route.action)}”."
            )
        return f"{self.change.edit} the action would be “{words(self.change.action)}”."

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain data, as `/explain` returns it."""
        change = self.change
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
            "change": change and {"edit": change.edit, "text": change.text, "action": change.action},
            "edits_tried": self.edits_tried,
        }


def explain(text: str, run: Run, policy: Policy) -> Explanation:
    """Explain the answer to a message.

    The weights are found by occlusion (Zeiler and Fergus 2014; for words, Li et al. 2016): the message is run
    once more without each word, all in one batch. `faithfulness` measures how far they can be trusted.

    Args:
        text: The message, or the part of it that the model reads.
        run: What runs the model, such as `Classifier.probabilities`.
        policy: What routes.

    Raises:
        ClassifierError: The message holds nothing to read.
    """
    full, parts = occlude(text, run)
    labels = {task: max(shares, key=shares.__getitem__) for task, shares in full.items()}
    decisive = [(part.start, part.end) for part in _heaviest(parts)]
    route = policy.route(full, text, fragile=is_fragile(text, run, policy, spans=decisive[:3]))
    action = policy.route(full, text).action
    change, tried = _smallest_change(text, decisive, run, policy, action)
    return Explanation(labels, parts, route, change, tried)


def occlude(text: str, run: Run) -> tuple[Probabilities, tuple[Part, ...]]:
    """The probabilities of a message, and its words with the weight of each.

    Args:
        text: The message.
        run: What runs the model.

    Raises:
        ClassifierError: The message holds nothing to read.
    """
    spans = word_spans(text)
    if not spans:
        raise ClassifierError("The message holds nothing to explain; write a few words.")
    full, *without = run([text, *(edited(text, {span: ""}) for span in spans)])
    labels = {task: max(shares, key=shares.__getitem__) for task, shares in full.items()}
    parts = tuple(
        Part(text[start:end], start, end, {task: full[task][label] - less[task][label] for task, label in labels.items()})
        for (start, end), less in zip(spans, without, strict=True)
    )
    return full, parts


def is_fragile(text: str, run: Run, policy: Policy, spans: Sequence[tuple[int, int]] | None = None) -> bool:
    """Whether a change of case, punctuation or spelling changes the action of a message.

    Args:
        text: The message.
        run: What runs the model.
        policy: What routes.
        spans: Begin and end of the words that get a typo; the three longest if None.
    """
    noisy = list(perturbations(text, spans))
    first, *others = run([text, *noisy])
    action = policy.route(first, text).action
    return any(policy.route(found, other).action != action for other, found in zip(noisy, others, strict=True))


def perturbations(text: str, spans: Sequence[tuple[int, int]] | None = None) -> Iterator[str]:
    """The message with changes that mean nothing: in capitals, in small letters, without marks, with a typo.

    Args:
        text: The message.
        spans: Begin and end of the words that get a typo, one at a time; the three longest if None.
    """
    if spans is None:
        spans = sorted(word_spans(text), key=lambda span: span[0] - span[1])[:3]
    tried = {text}
    for other in (
        text.upper(),
        text.lower(),
        re.sub(r"[.,!?]+(?=\s|$)", "", text),
        *(text[:start] + _typo(text[start:end]) + text[end:] for start, end in spans),
    ):
        if other not in tried and re.search(r"\w", other):
            tried.add(other)
            yield other


def word_spans(text: str) -> list[tuple[int, int]]:
    """Begin and end of each word, or of groups of neighbours where there are more than MAX_PARTS."""
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    size = -(-len(spans) // MAX_PARTS)
    return [(group[0][0], group[-1][1]) for group in (spans[i : i + size] for i in range(0, len(spans), size or 1))]


def edited(text: str, changes: dict[tuple[int, int], str]) -> str:
    """The message with the text of some spans replaced.

    Args:
        text: The message.
        changes: Begin and end of each span, with what takes its place.
    """
    for (start, end), new in sorted(changes.items(), reverse=True):
        text = text[:start] + new + (text[end:] if new else text[end:].lstrip())
    return text.strip() if re.search(r"\w", text) else NOTHING


def _heaviest(parts: Sequence[Part]) -> list[Part]:
    """The parts by their greatest weight in any task."""
    return sorted(parts, key=lambda part: -max(part.weights.values()))


def _typo(word: str) -> str:
    """The word with two letters in its middle swapped; short words stay."""
    middle = len(word) // 2
    return word if len(word) < 4 else word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]


def _smallest_change(
    text: str, spans: Sequence[tuple[int, int]], run: Run, policy: Policy, action: str
) -> tuple[Change | None, int]:
    """The first edit that changes the action, fewest words first, and the number of edits run."""
    tried = 0
    for size in (1, 2, 3):
        edits = [*_replacements(text)] if size == 1 else []
        edits += [
            (f"Without {_listed([text[start:end] for start, end in sorted(drop)])}", dict.fromkeys(drop, ""))
            for drop in combinations(spans if size == 1 else spans[:CANDIDATES], size)
        ]
        texts = [edited(text, changes) for _, changes in edits]
        tried += len(texts)
        for (edit, _), other, found in zip(edits, texts, run(texts) if texts else [], strict=True):
            new = policy.route(found, other).action
            if new != action:
                return Change(edit, other, new), tried
    return None, tried


def _replacements(text: str) -> Iterator[tuple[str, dict[tuple[int, int], str]]]:
    for phrase, calmer in CALMER.items():
        match = re.search(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE)
        if match:
            yield f"With “{calmer}” in place of “{match.group()}”", {match.span(): calmer}


def _listed(names: Sequence[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
