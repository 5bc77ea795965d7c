"""The routing policy: data that turns calibrated probabilities into a route with its reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ClassifierError
from .tasks import TaskSet

Probabilities = Mapping[str, Mapping[str, float]]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Priority = Literal["P1", "P2", "P3", "P4"]

#: The actions of a desk whose task set has no task for them.
ACCEPT, REVIEW = "accept", "review"


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
class Route:
    """What the desk does with a message.

    Attributes:
        action: The decision.
        queue: Where the message goes.
        priority: ``"P1"`` (at once) to ``"P4"`` (when there is time).
        automatic: Whether it is answered without a person.
        reasons: What decided it, in that order.
    """

    action: str
    queue: str
    priority: Priority
    automatic: bool
    reasons: tuple[Reason, ...]

    def to_dict(self) -> dict[str, Any]:
        """The route as plain data, part of every result."""
        return {
            "action": self.action,
            "queue": self.queue,
            "priority": self.priority,
            "automatic": self.automatic,
            "reasons": [{"code": reason.code, "text": reason.text} for reason in self.reasons],
        }


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Strict):
    """When a rule applies: every named task must agree, and a term must occur if terms are given.

    Attributes:
        labels: For each task, the labels that count.
        at_least: The least probability that the counting labels of a task need together.
        terms: Words or phrases; a trailing ``*`` matches any ending. Case doesn't matter.
    """

    labels: dict[str, list[str]] = {}
    at_least: Share = 0.5
    terms: list[str] = []

    @cached_property
    def _term_pattern(self) -> re.Pattern[str]:
        terms = (re.escape(term).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for term in self.terms)
        return re.compile(rf"(?<!\w)(?:{'|'.join(terms)})(?!\w)", re.IGNORECASE)

    def evidence(self, probabilities: Probabilities, text: str) -> dict[str, str] | None:
        """What makes the condition true, as placeholders for a reason; None when it is false.

        Args:
            probabilities: Task to label to probability.
            text: The message.
        """
        found: dict[str, str] = {}
        for task, labels in self.labels.items():
            likely = max(labels, key=lambda label: probabilities[task][label])
            share = sum(probabilities[task][label] for label in labels)
            if share < self.at_least:
                return None
            found[task] = f"{_words(likely)} {percent(share)}"
        if self.terms:
            match = self._term_pattern.search(text)
            if match is None:
                return None
            found["term"] = match.group()
        return found


class Rule(Condition):
    """A safety rule: where it applies, the route is at least as cautious as its action."""

    code: str
    action: str
    text: str


class QueueRule(Condition):
    """Sends messages to a queue; the first that applies wins."""

    queue: str
    actions: list[str] = []


class PriorityRule(Condition):
    """Gives messages a priority; the first that applies wins."""

    priority: Priority


class Policy(_Strict):
    """Costs, thresholds and rules of a desk. Pure: the same probabilities, text and policy give the same route.

    Attributes:
        format: Version of this file's format.
        version: The desk's own name for this state of its policy, shown with it.
        action_task: The task that recommends an action, or None where the model has none: then a
            message is accepted as classified, or reviewed by a person when the model is unsure.
        actions: All actions, from the least to the most cautious.
        automatic: The actions that no person sees.
        costs: ``costs[chosen][right]``: what it costs to choose one action where another was right.
        automatic_needs: The confidence that each task must reach before an automatic action.
        unsure: The action when an automatic one is not allowed.
        rules: Safety rules; all that apply count.
        queues: Queue rules, in order.
        default_queue: Queue when none applies.
        priorities: Priority rules, in order; P4 when none applies.
    """

    format: Literal[1] = 1
    version: str
    action_task: str | None
    actions: list[str] = Field(min_length=1)
    automatic: list[str]
    costs: dict[str, dict[str, Annotated[float, Field(ge=0.0)]]] = {}
    automatic_needs: dict[str, Share] = {}
    unsure: str
    rules: list[Rule] = []
    queues: list[QueueRule] = []
    default_queue: str = "general"
    priorities: list[PriorityRule] = []

    @model_validator(mode="after")
    def _actions_are_known(self) -> Policy:
        named = [*self.automatic, self.unsure, *(rule.action for rule in self.rules), *self.costs]
        named += [action for row in self.costs.values() for action in row]
        named += [action for rule in self.queues for action in rule.actions]
        unknown = sorted(set(named) - set(self.actions))
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is not among the actions {', '.join(self.actions)}")
        if self.unsure in self.automatic:
            raise ValueError(f"unsure is {self.unsure!r}, an automatic action; it must be one that a person sees")
        return self

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: str = "The policy") -> Policy:
        """Read a policy.

        Args:
            data: What a policy file holds.
            where: What to call it in an error.

        Raises:
            ClassifierError: A key is unknown or missing, or a value is impossible.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'policy'}: {fault['msg']}" for fault in error.errors()
            )
            raise ClassifierError(f"{where} cannot be used: {faults}. Correct these values in the file.") from None

    @classmethod
    def from_file(cls, path: str | Path) -> Policy:
        """Read a policy file; raises ClassifierError as `from_dict` does, and when it is not JSON."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClassifierError(f"The policy {str(path)!r} cannot be read as JSON: {error}.") from None
        return cls.from_dict(data, where=f"The policy {str(path)!r}")

    @classmethod
    def for_tasks(cls, tasks: TaskSet) -> Policy:
        """The policy that comes with a desk, or a plain one for task sets without their own."""
        path = Path(__file__).parent / "policies" / f"{tasks.name}.json"
        if path.is_file():
            return cls.from_file(path)
        return cls(
            version=f"{tasks.name}-default",
            action_task=None,
            actions=[ACCEPT, REVIEW],
            automatic=[ACCEPT],
            automatic_needs={task.name: task.unsure_below for task in tasks.tasks},
            unsure=REVIEW,
        )

    def check(self, tasks: TaskSet) -> None:
        """Make sure that every task and label that the policy names exists.

        Raises:
            ClassifierError: One does not.
        """
        if self.action_task is not None:
            missing = set(tasks.task(self.action_task).label_names) - set(self.actions)
            if missing:
                raise ClassifierError(
                    f"The policy {self.version!r} lists no action {', '.join(sorted(missing))}, which task "
                    f"{self.action_task!r} can recommend; add it to 'actions', by caution."
                )
        for condition in (*self.rules, *self.queues, *self.priorities):
            for task, labels in condition.labels.items():
                for label in labels:
                    tasks.task(task).index(label)
        for task in self.automatic_needs:
            tasks.task(task)

    def route(self, probabilities: Probabilities, text: str = "") -> Route:
        """Decide: least expected cost, then safety rules, then the confidence that automatic actions need.

        Args:
            probabilities: Task to label to calibrated probability.
            text: The message, for rules with terms.
        """
        action, reasons = self._recommended(probabilities)
        for rule in self.rules:
            evidence = rule.evidence(probabilities, text)
            if evidence is not None:
                if self._caution(rule.action) > self._caution(action):
                    action, reasons = rule.action, []
                if rule.action == action:
                    reasons.append(Reason(rule.code, rule.text.format(**evidence)))
        if action in self.automatic:
            doubts = self._doubts(probabilities)
            if doubts:
                action, reasons = self.unsure, [*doubts, *reasons]
        return Route(
            action=action,
            queue=self._queue(action, probabilities, text),
            priority=next(
                (rule.priority for rule in self.priorities if rule.evidence(probabilities, text) is not None), "P4"
            ),
            automatic=action in self.automatic,
            reasons=tuple(reasons),
        )

    def _caution(self, action: str) -> int:
        return self.actions.index(action)

    def _recommended(self, probabilities: Probabilities) -> tuple[str, list[Reason]]:
        """The action of least expected cost; between equals the more cautious."""
        if self.action_task is None:
            return self.actions[0], []
        shares = probabilities[self.action_task]

        def expected_cost(action: str) -> float:
            row = self.costs.get(action, {})
            return sum(share * row.get(right, float(right != action)) for right, share in shares.items())

        action = min(shares, key=lambda action: (round(expected_cost(action), 9), -self._caution(action)))
        likely = max(shares, key=shares.__getitem__)
        text = f"The model recommends “{_words(likely)}” ({percent(shares[likely])})"
        if action != likely:
            text += f", but “{_words(action)}” costs less on average ({percent(shares[action])})"
        return action, [Reason("recommended", f"{text}.")]

    def _doubts(self, probabilities: Probabilities) -> list[Reason]:
        found = []
        for task, needed in self.automatic_needs.items():
            confidence = max(probabilities[task].values())
            if confidence < needed:
                text = (
                    f"The model is unsure of the {_words(task)}: {percent(confidence)} is under the {percent(needed)}"
                )
                found.append(Reason(f"unsure_{task}", f"{text} that automatic answers need."))
        return found

    def _queue(self, action: str, probabilities: Probabilities, text: str) -> str:
        for rule in self.queues:
            if rule.actions and action not in rule.actions:
                continue
            if rule.evidence(probabilities, text) is not None:
                return rule.queue
        return self.default_queue


def percent(share: float) -> str:
    """A share as shown to people: whole per cent, and never 0 or 100 for what is only near."""
    return f"{min(max(round(100 * share), 1), 99)} %"


def _words(name: str) -> str:
    return name.replace("_", " ")
