"""Why a message was answered as it was: the weight of each word, and what would change the route."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .changes import Change, Run, Span, edited, first_change, noisy, smallest_change
from .errors import ClassifierError
from .reasons import Route, words
from .routing import Policy
from .rules import Probabilities

#: Most parts that a message is cut into; in longer ones some neighbouring words are one part.
MAX_PARTS = 64

#: Shares of the words that `faithfulness` leaves out, as in the ERASER benchmark.
LEFT_OUT = (0.1, 0.2, 0.5)

#: Draws of the bootstrap behind the intervals of `faithfulness`.
DRAWS = 2000


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
    spans, doubts = word_spans(text), noisy(text)
    full, *found = run([text, *(edited(text, {span: ""}) for span in spans), *(other for _, other in doubts)])
    singles, others = found[: len(spans)], found[len(spans) :]
    parts = _parts(text, spans, full, singles)
    action = policy.route(full, text).action
    change, tried = first_change(doubts, others, policy, action), 0
    route = policy.route(full, text, fragile=change is not None)
    if change is None:
        order = sorted(range(len(parts)), key=lambda index: -max(parts[index].weights.values()))
        ordered, less = [spans[index] for index in order], [singles[index] for index in order]
        change, tried = smallest_change(text, ordered, less, run, policy, action)
    return Explanation(_labels(full), parts, route, change, len(doubts) + tried)


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


def faithfulness(texts: Sequence[str], run: Run, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """How much more the weightiest words matter to the model than as many random ones.

    The measure is comprehensiveness (DeYoung et al. 2020, ERASER): the mean fall of the label's probability when
    the first 10, 20 and 50 % of the words are left out, by weight and in random order. Weights that say nothing
    about the model fall like random ones.

    Args:
        texts: Messages of at least two words.
        run: What runs the model.
        seed: Of the random order and of the bootstrap.

    Returns:
        For each task: ``by_weight`` and ``random`` (mean fall, one value per share left out), ``gain`` (their mean
        difference), ``interval`` (95 %, bootstrap over messages) and ``n``.
    """
    rng = random.Random(seed)
    falls: dict[str, list[list[list[float]]]] = {}
    for text in texts:
        parts = occlude(text, run)
        (full,) = run([text])
        for task, label in _labels(full).items():
            by_weight = sorted(parts, key=lambda part, task=task: -part.weights[task])  # type: ignore[misc]
            drops = [_first(order, share) for order in (by_weight, rng.sample(parts, len(parts))) for share in LEFT_OUT]
            found = run([edited(text, {(part.start, part.end): "" for part in drop}) for drop in drops])
            fall = [full[task][label] - less[task][label] for less in found]
            falls.setdefault(task, []).append([fall[: len(LEFT_OUT)], fall[len(LEFT_OUT) :]])
    return {task: _faithfulness(np.array(values), seed) for task, values in falls.items()}


def _faithfulness(falls: np.ndarray, seed: int) -> dict[str, Any]:
    """Summarise falls of shape (messages, by weight or random, shares left out)."""
    gains = (falls[:, 0] - falls[:, 1]).mean(1)
    draws = np.random.default_rng(seed).choice(gains, (DRAWS, len(gains))).mean(1)
    by_weight, at_random = falls.mean(0).round(4).tolist()
    return {
        "by_weight": by_weight,
        "random": at_random,
        "gain": round(float(gains.mean()), 4),
        "interval": np.quantile(draws, (0.025, 0.975)).round(4).tolist(),
        "n": len(gains),
    }


def _first(parts: Sequence[Part], share: float) -> Sequence[Part]:
    return parts[: max(1, round(share * len(parts)))]


def _labels(full: Probabilities) -> dict[str, str]:
    return {task: max(shares, key=shares.__getitem__) for task, shares in full.items()}


def _parts(text: str, spans: Sequence[Span], full: Probabilities, singles: Sequence[Probabilities]) -> tuple[Part, ...]:
    labels, parts = _labels(full), []
    for (start, end), less in zip(spans, singles, strict=True):
        weights = {task: full[task][label] - less[task][label] for task, label in labels.items()}
        parts.append(Part(text[start:end], start, end, weights))
    return tuple(parts)
