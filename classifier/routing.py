"""Decide a route: from calibrated probabilities, by the policy, with the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .reasons import Priority, Reason, Route, RunnerUp, amounts, compared, first_two, likely, percent, words
from .rules import ALWAYS, Probabilities

if TYPE_CHECKING:
    from .policy import Policy

#: Expected costs that differ by less than this part of the largest cost are equal; rounding errors are smaller.
SAME_COST = 1e-9


def decide(policy: Policy, probabilities: Probabilities, text: str, fragile: bool | None) -> Route:
    """The route that a policy gives to a message; see `Policy.route`."""
    costs = _expected_costs(policy, probabilities)
    recommended = action = next(iter(costs), policy.actions[0])
    reasons: list[Reason] = []
    if action in policy.automatic:
        reasons = _doubts(policy, probabilities, fragile)
        action = policy.unsure if reasons else action
    action, reasons, applied = _by_rules(policy, action, reasons, probabilities, text)
    runner_up = _runner_up(policy, action, recommended, reasons, probabilities, costs)
    if action == recommended:
        reasons = [*_recommendation(policy, action, probabilities, costs), *reasons]
    if action in policy.automatic:
        reasons += _why_safe(policy, probabilities, fragile)
    if not reasons:
        reasons = [Reason("default", f"Nothing speaks against “{words(action)}”, this desk's first action.")]
    queue, why_queue = _queue(policy, action, probabilities, text)
    priority, why_priority = _priority(policy, applied, probabilities, text)
    return Route(
        action=action,
        queue=queue,
        priority=priority,
        automatic=action in policy.automatic,
        reasons=(*reasons, *why_queue, *why_priority),
        runner_up=runner_up,
        expected_costs=costs,
        fragile=fragile,
        policy=policy.version,
    )


def _expected_costs(policy: Policy, probabilities: Probabilities) -> dict[str, float]:
    """What each action that the model can recommend costs on average, cheapest first.

    Of several cheapest the most cautious comes first. Empty without an action task.
    """
    if policy.action_task is None:
        return {}
    shares = probabilities[policy.action_task]
    costs = policy.costs or {chosen: {right: float(right != chosen) for right in shares} for chosen in shares}
    expected = {
        chosen: sum([share * row[right] for right, share in shares.items()])
        for chosen, row in ((chosen, costs[chosen]) for chosen in shares)
    }
    largest = max(cost for row in costs.values() for cost in row.values())
    least = min(expected.values()) + SAME_COST * largest
    best = max((action for action, cost in expected.items() if cost <= least), key=policy.actions.index)
    return {best: expected.pop(best)} | dict(sorted(expected.items(), key=lambda item: item[1]))


def _by_rules(
    policy: Policy, action: str, reasons: list[Reason], probabilities: Probabilities, text: str
) -> tuple[str, list[Reason], list[str]]:
    """The action that terms and safety rules leave, why (what asks for just this action), and all that apply."""
    applied: list[str] = []
    term = policy.always.found_in(text)
    if term is not None:
        applied.append(ALWAYS)
        action = policy.actions[-1]
        reasons = [Reason(ALWAYS, f"Policy: “{term}” always leads to “{words(action)}”.")]
    for rule in policy.rules:
        evidence = rule.evidence(probabilities, text)
        if evidence is not None:
            applied.append(rule.code)
            if policy.actions.index(rule.action) > policy.actions.index(action):
                action, reasons = rule.action, []
            if rule.action == action:
                reasons = [*reasons, Reason(rule.code, evidence.fill(rule.text))]
    return action, reasons, applied


def _doubts(policy: Policy, probabilities: Probabilities, fragile: bool | None) -> list[Reason]:
    """Why an automatic action is not allowed."""
    found = []
    for task, needed in policy.automatic_needs.items():
        first, second = first_two(probabilities[task])
        confidence, lead = first[1], first[1] - second[1]
        if confidence < needed:
            share, limit = compared(confidence, needed)
            text = f"The model is unsure of the {words(task)}: {share} is under the {limit}"
            found.append(Reason(f"unsure_{task}", f"{text} that automatic answers need."))
        elif lead < policy.automatic_lead:
            share, limit = compared(lead, policy.automatic_lead)
            text = f"Near tie in the {words(task)}: {words(first[0])} is only {share} ahead of {words(second[0])}"
            found.append(Reason(f"near_tie_{task}", f"{text}; automatic answers need {limit}."))
    if fragile and not policy.automatic_when_fragile:
        found.append(Reason("fragile", "The answer is fragile: changes of case, marks or spelling alter the route."))
    return found


def _why_safe(policy: Policy, probabilities: Probabilities, fragile: bool | None) -> list[Reason]:
    """What allows an automatic action."""
    reasons = []
    ruled = dict.fromkeys(task for rule in policy.rules for task in rule.labels)
    if ruled:
        found = [f"{words(task)} {likely(probabilities[task])}" for task in ruled]
        reasons.append(Reason("no_rule", f"No safety rule applies: {', '.join(found)}."))
    if policy.automatic_needs:
        parts = []
        for task, needed in policy.automatic_needs.items():
            label, confidence = first_two(probabilities[task])[0]
            share, limit = compared(confidence, needed)
            parts.append(f"{words(task)} {words(label)} ({share}, {limit} needed)")
        reasons.append(Reason("sure", f"The model is sure enough: {', '.join(parts)}."))
    if fragile is False:
        reasons.append(Reason("steady", "At most one small change of case, marks or spelling alters the route."))
    return reasons


def _recommendation(
    policy: Policy, action: str, probabilities: Probabilities, costs: Mapping[str, float]
) -> list[Reason]:
    if policy.action_task is None:
        return []
    shares = probabilities[policy.action_task]
    likely = max(shares, key=shares.__getitem__)
    text = f"The model recommends “{words(likely)}” ({percent(shares[likely])})"
    if action != likely:
        cheap, dear = amounts(costs[action], costs[likely])
        text += f", but “{words(action)}” ({percent(shares[action])}) costs less on average: {cheap} against {dear}"
    return [Reason("recommended", f"{text}.")]


def _runner_up(
    policy: Policy,
    action: str,
    recommended: str,
    decisive: list[Reason],
    probabilities: Probabilities,
    costs: Mapping[str, float],
) -> RunnerUp | None:
    """The overruled recommendation; else the second cheapest action, or what doubt would lead to."""
    if action != recommended:
        share = f" ({percent(probabilities[policy.action_task][recommended])})" if policy.action_task else ""
        return RunnerUp(recommended, f"Recommended{share}, but overruled. {decisive[0].text}")
    if policy.action_task is None:
        return RunnerUp(policy.unsure, "Nothing is in doubt.") if action != policy.unsure else None
    second = next((other for other in costs if other != action), None)
    if second is None:
        return None
    right = f"It is right with a probability of {percent(probabilities[policy.action_task][second])}"
    dear, cheap = amounts(costs[second], costs[action])
    return RunnerUp(second, f"{right} and costs {dear} on average, “{words(action)}” {cheap}.")


def _queue(policy: Policy, action: str, probabilities: Probabilities, text: str) -> tuple[str, list[Reason]]:
    for rule in policy.queues:
        if rule.actions and action not in rule.actions:
            continue
        evidence = rule.evidence(probabilities, text)
        if evidence is not None:
            why = str(evidence) or f"action {words(action)}"
            return rule.queue, [Reason("queue", f"Queue {words(rule.queue)}: {why}.")]
    return policy.default_queue, []


def _priority(
    policy: Policy, applied: list[str], probabilities: Probabilities, text: str
) -> tuple[Priority, list[Reason]]:
    for rule in policy.priorities:
        cause = next((code for code in rule.because if code in applied), None)
        if rule.because and cause is None:
            continue
        evidence = rule.evidence(probabilities, text)
        if evidence is not None:
            why = ", ".join(filter(None, [f"rule {words(cause)}" if cause else "", str(evidence)]))
            return rule.priority, [Reason("priority", f"Priority {rule.priority}: {why}.")]
    return "P4", []
