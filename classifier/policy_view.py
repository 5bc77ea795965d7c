"""What a policy does to messages whose probabilities are known, as HTML: nothing here runs the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from .budget import Curve
from .errors import ClassifierError
from .file_summary import scored_rows
from .jobs import Job
from .page import escape
from .policy import Policy
from .rules import Probabilities
from .tasks import Label, TaskSet

#: Messages whose routes are listed; the counts above them are of all.
LISTED = 10

#: Rows of a file that are decided again with every edit: as many as take a fraction of a second.
MOST_ROWS = 5000

COLUMNS = ("Message", "Decision", "Queue", "Priority", "First reason")

NO_MESSAGE = "Analyze a message in the tab Message, and its route under this policy stands here."
NO_FILE = "Classify a file in the tab File, and what this policy does to it stands here."


class Known(NamedTuple):
    """A message that the model has read.

    Attributes:
        text: The message.
        probabilities: Task to label to probability.
        fragile: Whether small changes of the message change its route; None when that was not tried.
        action: Under the desk's own policy.
        queue: Under the desk's own policy.
        priority: Under the desk's own policy.
        automatic: Under the desk's own policy.
    """

    text: str
    probabilities: Probabilities
    fragile: bool | None
    action: str
    queue: str
    priority: str
    automatic: bool


def known(policy: Policy, text: str, probabilities: Probabilities, fragile: bool | None = None) -> Known:
    """A message with its route under the desk's own policy.

    Args:
        policy: The desk's own.
        text: The message.
        probabilities: Task to label to probability.
        fragile: Whether small changes of the message change its route; None when that was not tried.
    """
    route = policy.route(probabilities, text, fragile=fragile)
    return Known(text, probabilities, fragile, route.action, route.queue, route.priority, route.automatic)


def known_rows(job: Job, tasks: TaskSet, policy: Policy) -> list[Known]:
    """The first MOST_ROWS rows of a scored file, those with an error left out.

    Args:
        job: A job in a final state.
        tasks: What the model answers.
        policy: The desk's own.
    """
    rows = islice(scored_rows(job.scored, tasks), MOST_ROWS)
    return [known(policy, row.text, row.probabilities) for row in rows if row.labels]


def effect(policy: Policy, messages: Sequence[Known], what: str, note: str = "") -> str:
    """How a changed policy routes some messages, beside the desk's own.

    Args:
        policy: The changed policy.
        messages: The messages. Of more than LISTED, those whose route changes are listed first.
        what: What the messages are, for the heading.
        note: What else there is to say of them.
    """
    routes = [policy.route(found.probabilities, found.text, fragile=found.fragile) for found in messages]
    others = [
        (new.action, new.queue, new.priority) != (old.action, old.queue, old.priority)
        for new, old in zip(routes, messages, strict=True)
    ]
    automatic, before = sum(route.automatic for route in routes), sum(found.automatic for found in messages)
    order: Iterable[int] = range(len(messages))
    if len(messages) > LISTED:
        order = sorted(order, key=lambda index: not others[index])[:LISTED]
    rows = []
    for index in order:
        new, old = routes[index], messages[index]
        before_that = f"was {_title(old.action)}, {_title(old.queue)}, {old.priority}"
        was = f" <small>{escape(before_that)}</small>" if others[index] else ""
        rows.append(
            f"<tr{' class=changed' if others[index] else ''}><td>{escape(old.text[:120])}</td>"
            f"<td>{'≠ ' if others[index] else ''}{escape(_title(new.action))}{was}</td>"
            f"<td>{escape(_title(new.queue))}</td><td>{new.priority}</td><td>{escape(new.reasons[0].text)}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    was = f" (was {before:,})" if before != automatic else ""
    more = f"{note} " if note else ""
    if len(messages) > LISTED:
        more += f"Listed are {LISTED}, those that change first."
    return (
        f'<section class="decided"><h3>{escape(what)}: {automatic:,} of {len(messages):,} automatic{was}, '
        f"{sum(others):,} changed</h3>{f'<p class=fine>{escape(more.strip())}</p>' if more else ''}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(what)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def nothing_yet(what: str, text: str) -> str:
    """The place of an effect on messages that are not there yet.

    Args:
        what: What the messages will be, for the heading.
        text: How they come there.
    """
    return f'<section class="decided"><h3>{escape(what)}</h3><p class="fine">{escape(text)}</p></section>'


def promise(curve: Curve | None, max_wrong: float) -> tuple[str, float | None]:
    """What an error budget means for this model, in words, and the level that keeps it.

    Args:
        curve: The counts behind the model; None where it was not calibrated for budgets.
        max_wrong: Greatest share of wrong automatic answers.
    """
    if curve is None:
        return (
            "How many automatic answers are wrong cannot be promised for this model yet: that takes labelled messages.",
            None,
        )
    try:
        choice = curve.choose(max_wrong)
    except ClassifierError as error:
        return str(error), None
    return str(choice), choice.level


def _title(name: str) -> str:
    return Label(name).title
