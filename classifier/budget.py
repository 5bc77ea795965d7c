"""Error budgets: how many messages can be answered automatically when at most so many answers may be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from .binomial import ENOUGH, binomial_tail, messages_needed, upper_limit
from .errors import ClassifierError
from .policy import Policy
from .rules import Probabilities

if TYPE_CHECKING:
    from .examples import Examples

#: Confidence levels that are looked at, the most cautious first. Fixed beforehand, which the guarantee needs.
LEVELS = tuple(step / 200 for step in range(199, 99, -1))

#: A labelled message: its text, its probabilities, its right labels.
Message = tuple[str, Probabilities, Mapping[str, str]]


@dataclass(frozen=True)
class Choice:
    """A confidence level that keeps an error budget.

    Attributes:
        level: The confidence that every task of an automatic answer needs.
        max_wrong: The promise: at most this share of automatic answers is wrong.
        confidence: How sure the promise is: at least this share of calibration samples would keep it.
        automatic: Share of the calibration messages that this level answers automatically.
        wrong: Share of those that were wrong.
        n: Calibration messages.
    """

    level: float
    max_wrong: float
    confidence: float
    automatic: float
    wrong: float
    n: int

    def __str__(self) -> str:
        return (
            f"With {self.confidence:.0%} confidence at most {self.max_wrong:.1%} of automatic answers are wrong if "
            f"they need {self.level:.1%} confidence. Of {self.n:,} labelled messages {self.automatic:.0%} were then "
            f"automatic, {self.wrong:.1%} of them wrong."
        )


@dataclass(frozen=True)
class Curve:
    """Automation against error on labelled messages that the model was not trained on.

    Attributes:
        n: Messages.
        automatic: For each of LEVELS, how many are answered automatically.
        wrong: For each of LEVELS, how many of those wrongly.
    """

    n: int
    automatic: tuple[int, ...]
    wrong: tuple[int, ...]

    @classmethod
    def of(cls, confidences: Sequence[float], wrong: Sequence[bool]) -> Curve:
        """Count.

        Args:
            confidences: For each message, the highest level at which it is still answered automatically; -1 for never.
            wrong: For each message, whether that would be wrong.
        """
        pairs = list(zip(confidences, wrong, strict=True))
        return cls(
            n=len(pairs),
            automatic=tuple(sum(score >= level for score, _ in pairs) for level in LEVELS),
            wrong=tuple(sum(bad and score >= level for score, bad in pairs) for level in LEVELS),
        )

    @classmethod
    def measure(cls, policy: Policy, messages: Sequence[Message]) -> Curve:
        """Count on labelled messages.

        Args:
            policy: What routes them; its own confidence thresholds are left out of account.
            messages: Text, probabilities and right labels of each. Messages without a label that the policy
                needs to know (`is_wrong`) are left out.

        Raises:
            ClassifierError: The policy asks for no confidence, or no message has the labels.
        """
        needed = judged(policy)
        known = [message for message in messages if all(message[2].get(task) for task in needed)]
        if not known:
            raise ClassifierError(f"No message has the labels {', '.join(needed)}; label some first.")
        anyway = at_level(policy, 0.0)
        confidences = [
            answer_confidence(policy, found) if anyway.route(found, text).automatic else -1.0
            for text, found, _ in known
        ]
        return cls.of(confidences, [is_wrong(policy, found, labels) for _, found, labels in known])

    def choose(self, max_wrong: float, confidence: float = 0.95) -> Choice:
        """The lowest level that keeps a budget, so that most messages are automatic.

        Learn then Test (Angelopoulos et al. 2021, arXiv:2110.01052) with fixed-sequence testing: from the most
        cautious level down, the hypothesis "more than `max_wrong` of the automatic answers are wrong" is tested
        with an exact binomial test, and the first level where it cannot be rejected ends the sequence. With
        probability `confidence` over the drawing of the messages, the chosen level keeps the budget on messages
        of the same kind. Levels with too few automatic messages to prove anything are passed over; that looks
        at how many are automatic, never at whether they are right, and supposes only that less confident
        answers are not more often right.

        Args:
            max_wrong: Greatest share of wrong automatic answers, above 0 and below 1.
            confidence: How sure that must be, above 0 and below 1.

        Raises:
            ClassifierError: A value is impossible, or the messages cannot support the promise; says how many could.
        """
        for name, value in (("max_wrong", max_wrong), ("confidence", confidence)):
            if not 0 < value < 1:
                raise ClassifierError(f"{name} is {value}; expected a share between 0 and 1, such as 0.02 or 0.95.")
        risk = 1 - confidence
        first = min(
            messages_needed(max_wrong / 2, max_wrong, risk),
            max(messages_needed(0, max_wrong, risk), self.automatic[-1] // 2),
        )
        chosen = None
        for index, (automatic, wrong) in enumerate(zip(self.automatic, self.wrong, strict=True)):
            if automatic < first:
                continue
            if binomial_tail(wrong, automatic, max_wrong) > risk:
                break
            chosen = index
        if chosen is None:
            raise ClassifierError(self._refusal(max_wrong, confidence))
        automatic, wrong = self.automatic[chosen], self.wrong[chosen]
        return Choice(LEVELS[chosen], max_wrong, confidence, automatic / self.n, wrong / automatic, self.n)

    def points(self, confidence: float = 0.95) -> list[dict[str, float]]:
        """The curve for people: of each level the share automatic, the share wrong, and how high that could be.

        Args:
            confidence: Of the upper limit of the share wrong (Clopper and Pearson 1934), at each level by itself.
        """
        return [
            {
                "level": level,
                "automatic": automatic / self.n,
                "wrong": wrong / automatic,
                "at_most": upper_limit(wrong, automatic, confidence),
            }
            for level, automatic, wrong in zip(LEVELS, self.automatic, self.wrong, strict=True)
            if automatic
        ]

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data, as calibration.json keeps them."""
        return {"levels": list(LEVELS), **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curve:
        """Read what `to_dict` wrote; raises ClassifierError for anything else."""
        counts = [data.get("automatic"), data.get("wrong")]
        if list(data.get("levels", ())) != list(LEVELS) or any(len(count or ()) != len(LEVELS) for count in counts):
            raise ClassifierError("The automation curve is of another version; run `calibrate` again.")
        return cls(int(data["n"]), tuple(data["automatic"]), tuple(data["wrong"]))

    def _refusal(self, max_wrong: float, confidence: float) -> str:
        promise = f"At most {100 * max_wrong:g} % wrong with {100 * confidence:g} % confidence"
        needed = []
        for automatic, wrong in zip(self.automatic, self.wrong, strict=True):
            # Half an error more than was seen: no errors among a few messages prove little. Where none was seen,
            # a small budget is not beyond the model, only beyond the messages.
            rate = (wrong + 0.5) / (automatic + 1)
            rate = rate if wrong else min(rate, max_wrong / 2)
            if automatic and rate < max_wrong:
                more = messages_needed(rate, max_wrong, 1 - confidence) * self.n / automatic
                needed.append(max(ceil(more), self.n + 1))
        if needed and min(needed) <= ENOUGH:
            return (
                f"{promise} cannot be promised from {self.n:,} labelled messages; about {min(needed):,} are needed, "
                f"{min(needed) - self.n:,} more, if the model goes on as it does. Or allow more wrong answers."
            )
        counts = [(wrong, automatic) for wrong, automatic in zip(self.wrong, self.automatic, strict=True) if automatic]
        best = min(counts, key=lambda pair: (pair[0] + 0.5) / (pair[1] + 1), default=(0, 0))
        return (
            f"{promise} is out of reach of this model on {self.n:,} labelled messages: at the best level {best[0]:,} "
            f"of {best[1]:,} automatic answers were wrong. Allow more wrong answers or train a better model."
        )


def at_level(policy: Policy, level: float) -> Policy:
    """The policy with one confidence level for all tasks that automatic answers rest on.

    Args:
        policy: Whose other values stay.
        level: The confidence, 0 to 1.
    """
    return policy.changed(automatic_needs=dict.fromkeys(policy.automatic_needs, level))


def answer_confidence(policy: Policy, probabilities: Probabilities) -> float:
    """The least confidence among the tasks that automatic answers rest on.

    Args:
        policy: Names the tasks.
        probabilities: Task to label to probability.
    """
    return min(max(probabilities[task].values()) for task in policy.automatic_needs)


def judged(policy: Policy) -> tuple[str, ...]:
    """The tasks whose right labels tell whether an automatic answer is wrong.

    Args:
        policy: What routes.

    Raises:
        ClassifierError: The policy asks for no confidence.
    """
    if not policy.automatic_needs:
        raise ClassifierError(
            f"The policy {policy.version!r} asks for no confidence, so there is no level to choose; "
            "name the tasks that automatic answers rest on in 'automatic_needs'."
        )
    return (policy.action_task,) if policy.action_task is not None else tuple(policy.automatic_needs)


def countable(policy: Policy, examples: Examples) -> bool:
    """Whether a curve can be counted: the policy asks for confidence, and some message has the labels.

    Args:
        policy: What routes.
        examples: Labelled messages.
    """
    if not policy.automatic_needs:
        return False
    present = [examples.labels[task] >= 0 for task in judged(policy) if task in examples.labels]
    return len(present) == len(judged(policy)) and bool(np.all(present, axis=0).any())


def is_wrong(policy: Policy, probabilities: Probabilities, labels: Mapping[str, str]) -> bool:
    """Whether an automatic answer would be wrong.

    With an action task: when the right action is one that a person sees. Without: when any label that automatic
    answers rest on is not the right one.

    Args:
        policy: What routes.
        probabilities: Task to label to probability.
        labels: The right labels.
    """
    if policy.action_task is not None:
        return labels[policy.action_task] not in policy.automatic
    return any(max(probabilities[task], key=probabilities[task].__getitem__) != labels[task] for task in judged(policy))
