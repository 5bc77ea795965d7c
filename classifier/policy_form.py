"""The policy as a form: what its fields show, and what an edit of one does to the policy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from math import isfinite
from typing import Any

from .errors import ClassifierError
from .policy import Policy
from .reasons import words
from .rules import QueueRule
from .tasks import Label, TaskSet

#: What the form says of messages that no queue rule sends anywhere.
EVERYTHING_ELSE = "everything else"

NO_COST = "A cost is no number; write numbers of 0 and more, such as 5."


def text_of(policy: Policy) -> str:
    """The policy as its file holds it."""
    return json.dumps(policy.to_dict(), indent=2, ensure_ascii=False)


def read(text: str | bytes, tasks: TaskSet) -> Policy:
    """The policy of a text.

    Args:
        text: JSON.
        tasks: What the policy must fit.

    Raises:
        ClassifierError: It is no JSON, no policy, or one of another desk.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ClassifierError(f"This is not JSON: {error}.") from None
    policy = Policy.from_dict(data, where="This policy")
    policy.check(tasks)
    return policy


def with_need(task: str, policy: Policy, per_cent: float) -> Policy:
    """The policy with another confidence that automatic answers need of one task."""
    return policy.changed(automatic_needs={**policy.automatic_needs, task: per_cent / 100})


def with_terms(policy: Policy, terms: str) -> Policy:
    """The policy with other terms that always escalate, given with commas between them.

    Raises:
        ClassifierError: Some could be found in no message.
    """
    written = [term.strip() for term in terms.split(",") if term.strip()]
    empty = [f"“{term}”" for term in written if not re.search(r"\w", term)]
    if empty:
        raise ClassifierError(f"No message can hold {' or '.join(empty)}: a term needs letters or digits.")
    return policy.changed(always_escalate=written)


def cost_rows(policy: Policy) -> list[list[Any]]:
    """Rows of the cost table: the chosen action, and what it costs where each action was right."""
    return [[Label(chosen).title, *(row[right] for right in policy.costs)] for chosen, row in policy.costs.items()]


def with_costs(policy: Policy, rows: Sequence[Sequence[Any]]) -> Policy:
    """The policy with the costs of an edited table.

    Raises:
        ClassifierError: A cell is no number of 0 or more, or nothing costs anything.
    """
    names = list(policy.costs)
    try:
        costs = {
            name: dict(zip(names, map(float, row[1:]), strict=True)) for name, row in zip(names, rows, strict=True)
        }
    except (TypeError, ValueError):
        raise ClassifierError(NO_COST) from None
    numbers = [cost for row in costs.values() for cost in row.values()]
    if not all(isfinite(cost) and cost >= 0 for cost in numbers):
        raise ClassifierError(NO_COST)
    if not any(numbers):
        raise ClassifierError("If all costs are 0, nothing can be decided; write at least one that is more.")
    return policy.changed(costs=costs)


def queue_rows(policy: Policy) -> list[list[str]]:
    """Rows of the queue table, in the order in which they are tried: which messages, and their queue."""
    return [*([_when(rule), rule.queue] for rule in policy.queues), [EVERYTHING_ELSE, policy.default_queue]]


def with_queues(policy: Policy, rows: Sequence[Sequence[Any]]) -> Policy:
    """The policy with the queues of an edited table.

    Raises:
        ClassifierError: A queue has no name.
    """
    names = [str(name or "").strip() for _, name in rows]
    if not all(names):
        raise ClassifierError("A queue has no name; write one in each line.")
    rules = [
        {**rule.model_dump(mode="json", exclude_unset=True), "queue": name}
        for rule, name in zip(policy.queues, names[:-1], strict=True)
    ]
    return policy.changed(queues=rules, default_queue=names[-1])


def _when(rule: QueueRule) -> str:
    """The condition of a queue rule in words."""
    parts = [_either(rule.actions)] if rule.actions else []
    parts += [f"{words(task)} {_either(labels)} ({rule.at_least:.0%})" for task, labels in rule.labels.items()]
    if rule.terms:
        parts.append(f"one of {len(rule.terms)} terms ({', '.join(rule.terms[:3])}, …)")
    return ", ".join(parts) or "all"


def _either(names: Sequence[str]) -> str:
    return " or ".join(map(words, names))
