"""What a policy does to messages whose probabilities are known, as HTML: nothing here runs the model."""

from __future__ import annotations

from collections.abc import Sequence

from .budget import Curve
from .errors import ClassifierError
from .page import escape
from .routing import Policy
from .rules import Probabilities
from .tasks import Label

#: Messages whose routes are listed; the counts above them are of all.
LISTED = 20

COLUMNS = ("Message", "Action", "Queue", "Priority", "First reason")

Known = Sequence[tuple[str, Probabilities]]


def effect(policy: Policy, before: Policy, messages: Known, what: str) -> str:
    """How a changed policy routes some messages, beside the policy that came with the model.

    Args:
        policy: The changed policy.
        before: The policy to compare with.
        messages: Text and probabilities of each.
        what: What the messages are, for the heading.
    """
    if not messages:
        return ""
    rows: list[str] = []
    automatic = changed = 0
    for text, probabilities in messages:
        new, old = policy.route(probabilities, text), before.route(probabilities, text)
        other = (new.action, new.queue) != (old.action, old.queue)
        automatic += new.automatic
        changed += other
        if len(rows) < LISTED:
            was = f" <small>was {escape(_title(old.action))}, {escape(_title(old.queue))}</small>" if other else ""
            rows.append(
                f"<tr{' class=changed' if other else ''}><td>{escape(text[:120])}</td>"
                f"<td>{'≠ ' if other else ''}{escape(_title(new.action))}{was}</td><td>{escape(_title(new.queue))}</td>"
                f"<td>{new.priority}</td><td>{escape(new.reasons[0].text)}</td></tr>"
            )
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    return (
        f'<section class="decided"><h3>{escape(what)}: {automatic:,} of {len(messages):,} automatic, '
        f"{changed:,} changed</h3>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(what)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


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
