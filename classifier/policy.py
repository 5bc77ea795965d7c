"""The routing policy of a desk: costs, thresholds and rules as data, read from a file and checked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from . import routing
from .errors import ClassifierError
from .reasons import Route
from .rules import ALWAYS, Name, PriorityRule, Probabilities, QueueRule, Rule, Share, Strict, Term, Terms
from .tasks import TaskSet

#: The actions of a desk whose task set has no task for them.
ACCEPT, REVIEW = "accept", "review"

Cost = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Policy(Strict):
    """Costs, thresholds and rules of a desk. Pure: the same probabilities, text and policy give the same route.

    Attributes:
        format: Version of this file's format.
        version: The desk's own name for this state of its policy, shown with it.
        action_task: The task that recommends an action, or None where the model has none: then a
            message is accepted as classified, or reviewed by a person when the model is unsure.
        actions: All actions, from the least to the most cautious.
        automatic: The actions that no person sees.
        costs: ``costs[chosen][right]``: what it costs to choose one action where another was right. Only
            their proportions matter. If empty, every wrong choice costs 1.
        automatic_needs: The confidence that each task must reach before an automatic action.
        automatic_lead: How far ahead of the second each of these tasks' first label must be.
        automatic_when_fragile: Whether messages whose route small changes would flip are still automatic.
        unsure: The action when an automatic one is not allowed.
        always_escalate: Terms whose messages get the most cautious action, whatever the model says.
        rules: Safety rules; all that apply count.
        queues: Queue rules, in order.
        default_queue: Queue when none applies.
        priorities: Priority rules, in order; P4 when none applies.
    """

    format: Literal[1] = 1
    version: Name
    action_task: str | None
    actions: list[Name] = Field(min_length=1)
    automatic: list[str]
    costs: dict[str, dict[str, Cost]] = Field(default_factory=dict)
    automatic_needs: dict[str, Share] = Field(default_factory=dict)
    automatic_lead: Share = 0.0
    automatic_when_fragile: bool = False
    unsure: str
    always_escalate: list[Term] = Field(default_factory=list)
    rules: list[Rule] = Field(default_factory=list)
    queues: list[QueueRule] = Field(default_factory=list)
    default_queue: Name = "general"
    priorities: list[PriorityRule] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_known(self) -> Policy:
        if len(set(self.actions)) < len(self.actions):
            raise ValueError("actions lists an action twice")
        named = [*self.automatic, self.unsure, *(rule.action for rule in self.rules), *self.costs]
        named += [action for row in self.costs.values() for action in row]
        named += [action for rule in self.queues for action in rule.actions]
        unknown = sorted(set(named) - set(self.actions))
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is not among the actions {', '.join(self.actions)}")
        codes = {ALWAYS, *(rule.code for rule in self.rules)}
        strange = sorted({code for rule in self.priorities for code in rule.because} - codes)
        if strange:
            raise ValueError(
                f"priorities name {', '.join(strange)}; the safety rules are {', '.join(sorted(codes))}: keep the "
                "rule, or take its name out of because"
            )
        if set(self.actions[: len(self.automatic)]) != set(self.automatic) or self.unsure in self.automatic:
            raise ValueError(
                "automatic actions are the least cautious: they stand first in actions, and neither unsure nor the "
                "last action is one"
            )
        return self

    @model_validator(mode="after")
    def _costs_are_complete(self) -> Policy:
        for chosen, row in self.costs.items():
            missing = set(self.costs) - set(row)
            if missing:
                raise ValueError(f"costs.{chosen} lacks the cost where {', '.join(sorted(missing))} was right")
        if self.costs and not any(cost for row in self.costs.values() for cost in row.values()):
            raise ValueError(
                "costs are all 0, so that nothing could be decided; leave costs out if all mistakes weigh the same"
            )
        return self

    @cached_property
    def always(self) -> Terms:
        """The terms of `always_escalate`, to find in messages."""
        return Terms(terms=self.always_escalate)

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
                f"{'.'.join(map(str, fault['loc'])) or 'policy'}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in error.errors()
            )
            raise ClassifierError(f"{where} cannot be used: {faults}. Correct these values.") from None

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
        """The policy that comes with a desk, or a plain one for task sets without their own or with other labels."""
        path = Path(__file__).parent / "policies" / f"{tasks.name}.json"
        if path.is_file():
            own = cls.from_file(path)
            with contextlib.suppress(ClassifierError):
                own.check(tasks)
                return own
        return cls(
            version=f"{tasks.name}-default",
            action_task=None,
            actions=[ACCEPT, REVIEW],
            automatic=[ACCEPT],
            automatic_needs={task.name: task.unsure_below for task in tasks.tasks},
            unsure=REVIEW,
        )

    def to_dict(self) -> dict[str, Any]:
        """The policy as plain data, as a policy file holds it; what was left to defaults stays out."""
        return self.model_dump(mode="json", exclude_unset=True)

    def changed(self, **values: Any) -> Policy:
        """A copy with other values, validated like a file; raises ClassifierError as `from_dict` does."""
        return self.from_dict({**self.to_dict(), **values}, where="The changed policy")

    def check(self, tasks: TaskSet) -> None:
        """Make sure that every task and label that the policy names exists, and every action can be decided.

        Raises:
            ClassifierError: One does not.
        """
        if self.action_task is not None:
            labels = set(tasks.task(self.action_task).label_names)
            for what, names in {"actions": self.actions, "costs": self.costs or labels}.items():
                missing = sorted(labels - set(names))
                if missing:
                    raise ClassifierError(
                        f"The policy {self.version!r} lacks {', '.join(missing)} in {what!r}, which task "
                        f"{self.action_task!r} can recommend; add {'it' if len(missing) == 1 else 'them'}."
                    )
        for condition in (*self.rules, *self.queues, *self.priorities):
            for task, names in condition.labels.items():
                for name in names:
                    tasks.task(task).index(name)
        for task in self.automatic_needs:
            tasks.task(task)

    def route(self, probabilities: Probabilities, text: str = "", *, fragile: bool | None = None) -> Route:
        """Decide: least expected cost, then what automatic actions need, then terms and safety rules.

        Args:
            probabilities: Task to label to calibrated probability.
            text: The message, for rules with terms.
            fragile: Whether small changes of the message change its route; None when that was not tried.
        """
        return routing.decide(self, probabilities, text, fragile)
