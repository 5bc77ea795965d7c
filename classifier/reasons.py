"""What a route is, and the words and numbers in which it explains itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

Priority = Literal["P1", "P2", "P3", "P4"]


@dataclass(frozen=True)
class Reason:
    """One thing that decided a route.

    Attributes:
        code: For programs, such as ``"angry_customer"``.
        text: For people, with the numbers it rests on.
    """

    code: str
    text: str


@dataclass(frozen=True)
class RunnerUp:
    """The action that came second.

    Attributes:
        action: Its name.
        lacked: Why it was not chosen.
    """

    action: str
    lacked: str


@dataclass(frozen=True)
class Route:
    """What the desk does with a message.

    Attributes:
        action: The decision.
        queue: Where the message goes.
        priority: ``"P1"`` (at once) to ``"P4"`` (when there is time).
        automatic: Whether it is answered without a person.
        reasons: What decided it, in that order.
        runner_up: The action that came second and what it lacked; None when there is no other.
        expected_costs: Action to what it costs on average, given the probabilities; empty without an action task.
        fragile: Whether small changes of the message change its route; None when that was not tried.
        policy: Version of the policy that decided.
    """

    action: str
    queue: str
    priority: Priority
    automatic: bool
    reasons: tuple[Reason, ...]
    runner_up: RunnerUp | None = None
    expected_costs: Mapping[str, float] | None = None
    fragile: bool | None = None
    policy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The route as plain data, part of every result."""
        return {
            "action": self.action,
            "queue": self.queue,
            "priority": self.priority,
            "automatic": self.automatic,
            "reasons": [{"code": reason.code, "text": reason.text} for reason in self.reasons],
            "runner_up": self.runner_up and {"action": self.runner_up.action, "lacked": self.runner_up.lacked},
            "expected_costs": {action: round(cost, 4) for action, cost in (self.expected_costs or {}).items()},
            "fragile": self.fragile,
            "policy": self.policy,
        }


def percent(share: float) -> str:
    """A share as shown to people: whole per cent, and never 0 or 100 for what is only near."""
    return f"{min(max(round(100 * share), 1), 99)} %"


def compared(share: float, needed: float) -> tuple[str, str]:
    """A share and a limit in per cent, with as many digits as it takes to see which is greater."""
    for digits in range(8):
        texts = f"{100 * share:.{digits}f} %", f"{100 * needed:.{digits}f} %"
        if texts[0] != texts[1] and not (share < 1 and float(texts[0][:-2]) == 100):
            break
    return texts


def words(name: str) -> str:
    """The name of a task, label or action as written in a sentence."""
    return name.replace("_", " ")


def capitalised(sentence: str) -> str:
    """The sentence with a capital letter at its beginning; the rest as it was."""
    return sentence[:1].upper() + sentence[1:]


def first_two(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """The two most probable labels with their shares."""
    return sorted(shares.items(), key=itemgetter(1), reverse=True)[:2]


def likely(shares: Mapping[str, float]) -> str:
    """The most probable label as written in a reason, with its share."""
    label, share = first_two(shares)[0]
    return f"{words(label)} ({percent(share)})"


def amounts(one: float, other: float) -> tuple[str, str]:
    """Two amounts with as many digits as it takes to tell them apart; equal ones read the same."""
    for digits in range(2, 10):
        texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts
