"""Why a message was answered as it was: the weight of each word, the smallest change of route, doubt under noise."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from .errors import ClassifierError
from .reasons import Route, words
from .routing import Policy
from .rules import Probabilities

#: Runs the model on some messages: `Classifier.probabilities`.
Run = Callable[[Sequence[str]], Sequence[Probabilities]]

#: What was changed, for people, and the message with the change.
Edit = tuple[str, str]

#: Most parts that a message is cut into; in longer ones some neighbouring words are one part.
MAX_PARTS = 64

#: Words among which two or three are dropped together: those of the greatest weight.
CANDIDATES = 6

#: Words that get a typo, one at a time, when doubt under noise is looked for.
TYPOS = 3

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
        before: The action of the message as it stands.
        action: The action of the edited message.
    """

    edit: str
    text: str
    before: str
    action: str


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
    noisy = _noisy(text)
    full, parts, singles, others = _occlude(text, run, [other for _, other in noisy])
    labels = {task: max(shares, key=shares.__getitem__) for task, shares in full.items()}
    action = policy.route(full, text).action
    change, tried = _first_change(noisy, others, policy, action), 0
    route = policy.route(full, text, fragile=change is not None)
    if change is None:
        change, tried = _smallest_change(text, parts, singles, run, policy, action)
    return Explanation(labels, parts, route, change, len(noisy) + tried)


def is_fragile(text: str, full: Probabilities, run: Run, policy: Policy) -> bool:
    """Whether a change that means nothing, of case, marks or spelling, changes the action of a message.

    Args:
        text: The message, or the part of it that the model reads.
        full: Its probabilities.
        run: What runs the model.
        policy: What routes.
    """
    noisy = _noisy(text)
    found = run([other for _, other in noisy]) if noisy else []
    return _first_change(noisy, found, policy, policy.route(full, text).action) is not None


def occlude(text: str, run: Run) -> tuple[Probabilities, tuple[Part, ...]]:
    """The probabilities of a message, and its words with the weight of each.

    Args:
        text: The message.
        run: What runs the model.

    Raises:
        ClassifierError: The message holds nothing to read.
    """
    return _occlude(text, run, [])[:2]


def _occlude(
    text: str, run: Run, others: Sequence[str]
) -> tuple[Probabilities, tuple[Part, ...], Sequence[Probabilities], Sequence[Probabilities]]:
    """Probabilities of a message, its parts, the probabilities without each, and those of others in the same batch."""
    spans = word_spans(text)
    if not spans:
        raise ClassifierError("The message holds nothing to explain; write a few words.")
    full, *found = run([text, *(edited(text, {span: ""}) for span in spans), *others])
    singles, others_found = found[: len(spans)], found[len(spans) :]
    labels = {task: max(shares, key=shares.__getitem__) for task, shares in full.items()}
    parts = []
    for (start, end), less in zip(spans, singles, strict=True):
        weights = {task: full[task][label] - less[task][label] for task, label in labels.items()}
        parts.append(Part(text[start:end], start, end, weights))
    return full, tuple(parts), singles, others_found


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


def _noisy(text: str) -> list[Edit]:
    """Changes that mean nothing: all capitals, small letters, no marks, a doubled letter in each of the longest words.

    A doubled letter is the mildest typo; one that makes another word, or none that people would know, proves nothing.
    """
    edits = [
        ("In capitals", text.upper()),
        ("In small letters", text.lower()),
        ("Without punctuation marks", re.sub(r"[.,!?]+(?=\s|$)", "", text)),
    ]
    longest = sorted(re.finditer(r"[^\W\d_]{4,}", text), key=lambda match: match.start() - match.end())
    for match in longest[:TYPOS]:
        typo = match.group()[:-1] + match.group()[-2:]
        edits.append((f"With “{typo}” for “{match.group()}”", edited(text, {match.span(): typo})))
    other = {changed: edit for edit, changed in reversed(edits) if changed != text and re.search(r"\w", changed)}
    return [(edit, changed) for changed, edit in other.items()]


def _smallest_change(
    text: str,
    parts: Sequence[Part],
    singles: Sequence[Probabilities],
    run: Run,
    policy: Policy,
    action: str,
) -> tuple[Change | None, int]:
    """The first edit that changes the action, fewest words first, and the number of edits tried."""
    order = sorted(range(len(parts)), key=lambda index: -max(parts[index].weights.values()))
    edits = [_without(text, [parts[index]]) for index in order]
    change = _first_change(edits, [singles[index] for index in order], policy, action)
    heaviest = [parts[index] for index in order[:CANDIDATES]]
    tried = len(edits)
    for edits in (
        _calmer(text),
        [_without(text, drop) for drop in combinations(heaviest, 2)],
        [_without(text, drop) for drop in combinations(heaviest, 3)],
    ):
        if edits and change is None:
            tried += len(edits)
            change = _first_change(edits, run([other for _, other in edits]), policy, action)
    return change, tried


def _without(text: str, drop: Sequence[Part]) -> Edit:
    drop = sorted(drop, key=lambda part: part.start)
    quoted = [f"“{part.text}”" for part in drop]
    names = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
    return f"Without {names}", edited(text, {(part.start, part.end): "" for part in drop})


def _first_change(edits: Sequence[Edit], found: Sequence[Probabilities], policy: Policy, action: str) -> Change | None:
    """The first of some edits whose message has another action."""
    for (edit, text), probabilities in zip(edits, found, strict=True):
        new = policy.route(probabilities, text).action
        if new != action:
            return Change(edit, text, action, new)
    return None


def _calmer(text: str) -> list[Edit]:
    edits = []
    for phrase, calmer in CALMER.items():
        match = re.search(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE)
        if match:
            edits.append((f"With “{calmer}” for “{match.group()}”", edited(text, {match.span(): calmer})))
    return edits
