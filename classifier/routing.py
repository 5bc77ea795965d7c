"""The routing policy: data that turns calibrated probabilities into a route with its reasons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from .errors import ClassifierError
from .reasons import Priority, Reason, Route, RunnerUp, amounts, compared, first_two, likely, percent, words
from .rules import ALWAYS, Name, PriorityRule, Probabilities, QueueRule, Rule, Share, Strict, Term, Terms
from .tasks import TaskSet

#: The actions of a desk whose task set has no task for them.
ACCEPT, REVIEW = "accept", "review"

#: Expected costs that differ by less than this part of the largest cost are equal; rounding errors are smaller.
SAME_COST = 1e-9

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
            raise ValueError(f"priorities name {', '.join(strange)}; the safety rules are {', '.join(sorted(codes))}")
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
    def _always(self) -> Terms:
        return Terms(terms=self.always_escalate)

    @cached_property
    def _same_cost(self) -> float:
        return SAME_COST * max((cost for row in self.costs.values() for cost in row.values()), default=1.0)

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
        costs = self.expected_costs(probabilities)
        recommended = action = next(iter(costs), self.actions[0])
        reasons: list[Reason] = []
        if action in self.automatic:
            reasons = self._doubts(probabilities, fragile)
            action = self.unsure if reasons else action
        action, reasons, applied = self._by_rules(action, reasons, probabilities, text)
        runner_up = self._runner_up(action, recommended, reasons, probabilities, costs)
        if action == recommended:
            reasons = [*self._recommendation(action, probabilities, costs), *reasons]
        if action in self.automatic:
            reasons += self._why_safe(probabilities, fragile)
        if not reasons:
            reasons = [Reason("default", f"Nothing speaks against “{words(action)}”, this desk's first action.")]
        queue, why_queue = self._queue(action, probabilities, text)
        priority, why_priority = self._priority(applied, probabilities, text)
        return Route(
            action=action,
            queue=queue,
            priority=priority,
            automatic=action in self.automatic,
            reasons=(*reasons, *why_queue, *why_priority),
            runner_up=runner_up,
            expected_costs=costs,
            fragile=fragile,
            policy=self.version,
        )

    def expected_costs(self, probabilities: Probabilities) -> dict[str, float]:
        """What each action that the model can recommend costs on average, cheapest first.

        Of several cheapest the most cautious comes first. Empty without an action task.

        Args:
            probabilities: Task to label to calibrated probability.
        """
        if self.action_task is None:
            return {}
        shares = probabilities[self.action_task]
        costs = self.costs or {chosen: {right: float(right != chosen) for right in shares} for chosen in shares}
        expected = {
            chosen: sum([share * row[right] for right, share in shares.items()])
            for chosen, row in ((chosen, costs[chosen]) for chosen in shares)
        }
        least = min(expected.values()) + self._same_cost
        best = max((action for action, cost in expected.items() if cost <= least), key=self._caution)
        return {best: expected.pop(best)} | dict(sorted(expected.items(), key=lambda item: item[1]))

    def _caution(self, action: str) -> int:
        return self.actions.index(action)

    def _by_rules(
        self, action: str, reasons: list[Reason], probabilities: Probabilities, text: str
    ) -> tuple[str, list[Reason], list[str]]:
        """The action that terms and safety rules leave, why (what asks for just this action), and all that apply."""
        applied: list[str] = []
        term = self._always.found_in(text)
        if term is not None:
            applied.append(ALWAYS)
            action = self.actions[-1]
            reasons = [Reason(ALWAYS, f"Policy: “{term}” always leads to “{words(action)}”.")]
        for rule in self.rules:
            evidence = rule.evidence(probabilities, text)
            if evidence is not None:
                applied.append(rule.code)
                if self._caution(rule.action) > self._caution(action):
                    action, reasons = rule.action, []
                if rule.action == action:
                    reasons = [*reasons, Reason(rule.code, evidence.fill(rule.text))]
        return action, reasons, applied

    def _doubts(self, probabilities: Probabilities, fragile: bool | None) -> list[Reason]:
        """Why an automatic action is not allowed."""
        found = []
        for task, needed in self.automatic_needs.items():
            first, second = first_two(probabilities[task])
            confidence, lead = first[1], first[1] - second[1]
            if confidence < needed:
                share, limit = compared(confidence, needed)
                text = f"The model is unsure of the {words(task)}: {share} is under the {limit}"
                found.append(Reason(f"unsure_{task}", f"{text} that automatic answers need."))
            elif lead < self.automatic_lead:
                share, limit = compared(lead, self.automatic_lead)
                text = f"Near tie in the {words(task)}: {words(first[0])} is only {share} ahead of {words(second[0])}"
                found.append(Reason(f"near_tie_{task}", f"{text}; automatic answers need {limit}."))
        if fragile and not self.automatic_when_fragile:
            found.append(
                Reason("fragile", "The answer is fragile: changes of case, marks or spelling alter the route.")
            )
        return found

    def _why_safe(self, probabilities: Probabilities, fragile: bool | None) -> list[Reason]:
        """What allows an automatic action."""
        reasons = []
        ruled = dict.fromkeys(task for rule in self.rules for task in rule.labels)
        if ruled:
            found = [f"{words(task)} {likely(probabilities[task])}" for task in ruled]
            reasons.append(Reason("no_rule", f"No safety rule applies: {', '.join(found)}."))
        if self.automatic_needs:
            parts = []
            for task, needed in self.automatic_needs.items():
                label, confidence = first_two(probabilities[task])[0]
                share, limit = compared(confidence, needed)
                parts.append(f"{words(task)} {words(label)} ({share}, {limit} needed)")
            reasons.append(Reason("sure", f"The model is sure enough: {', '.join(parts)}."))
        if fragile is False:
            reasons.append(Reason("steady", "At most one small change of case, marks or spelling alters the route."))
        return reasons

    def _recommendation(self, action: str, probabilities: Probabilities, costs: Mapping[str, float]) -> list[Reason]:
        if self.action_task is None:
            return []
        shares = probabilities[self.action_task]
        likely = max(shares, key=shares.__getitem__)
        text = f"The model recommends “{words(likely)}” ({percent(shares[likely])})"
        if action != likely:
            cheap, dear = amounts(costs[action], costs[likely])
            text += f", but “{words(action)}” ({percent(shares[action])}) costs less on average: {cheap} against {dear}"
        return [Reason("recommended", f"{text}.")]

    def _runner_up(
        self,
        action: str,
        recommended: str,
        decisive: list[Reason],
        probabilities: Probabilities,
        costs: Mapping[str, float],
    ) -> RunnerUp | None:
        """The overruled recommendation; else the second cheapest action, or what doubt would lead to."""
        if action != recommended:
            share = f" ({percent(probabilities[self.action_task][recommended])})" if self.action_task else ""
            return RunnerUp(recommended, f"Recommended{share}, but overruled. {decisive[0].text}")
        if self.action_task is None:
            return RunnerUp(self.unsure, "Nothing is in doubt.") if action != self.unsure else None
        second = next((other for other in costs if other != action), None)
        if second is None:
            return None
        right = f"It is right with a probability of {percent(probabilities[self.action_task][second])}"
        dear, cheap = amounts(costs[second], costs[action])
        return RunnerUp(second, f"{right} and costs {dear} on average, “{words(action)}” {cheap}.")

    def _queue(self, action: str, probabilities: Probabilities, text: str) -> tuple[str, list[Reason]]:
        for rule in self.queues:
            if rule.actions and action not in rule.actions:
                continue
            evidence = rule.evidence(probabilities, text)
            if evidence is not None:
                why = str(evidence) or f"action {words(action)}"
                return rule.queue, [Reason("queue", f"Queue {words(rule.queue)}: {why}.")]
        return self.default_queue, []

    def _priority(self, applied: list[str], probabilities: Probabilities, text: str) -> tuple[Priority, list[Reason]]:
        for rule in self.priorities:
            cause = next((code for code in rule.because if code in applied), None)
            if rule.because and cause is None:
                continue
            evidence = rule.evidence(probabilities, text)
            if evidence is not None:
                why = ", ".join(filter(None, [f"rule {words(cause)}" if cause else "", str(evidence)]))
                return rule.priority, [Reason("priority", f"Priority {rule.priority}: {why}.")]
        return "P4", []
