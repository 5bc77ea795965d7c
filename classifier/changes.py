"""Changes of a message that alter its route: those that mean nothing (doubt), and the smallest that does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from .policy import Policy
from .rules import Probabilities

#: How many meaningless changes must alter the action of a fragile message.
FLIPS = 2

#: Runs the model on some messages: `Classifier.probabilities`.
Run = Callable[[Sequence[str]], Sequence[Probabilities]]

#: The action of a message from its probabilities and its text.
Decide = Callable[[Probabilities, str], str]

#: What was changed, for people, and the message with the change.
Edit = tuple[str, str]

#: Begin and end of a part of a message, in characters.
Span = tuple[int, int]

#: Words that get a typo, one at a time, when doubt under noise is looked for.
TYPOS = 3

#: Words among which two or three are dropped together: those that speak most for the action. More find a change
#: a little more often, but take longer than a visitor should wait.
CANDIDATES = 5

#: Phrases of pressure or anger, and what a calmer customer writes: tried as a change beside dropping words.
CALMER = {
    "asap": "when you can",
    "immediately": "when you can",
    "right now": "some time",
    "now": "some time",
    "today": "some day",
    "tonight": "some day",
    "tomorrow": "some day",
    "urgent": "not urgent",
    "emergency": "question",
    "unacceptable": "not ideal",
    "ridiculous": "not ideal",
    "worst": "not the best",
}

#: What is run when nothing to read would be left.
NOTHING = "."


@dataclass(frozen=True)
class Change:
    """An edit of a message that changes its action, verified by running the edited message.

    Attributes:
        edit: What to change, for people.
        text: The edited message.
        before: The action of the message as it stands.
        action: The action of the edited message.
    """

    edit: str
    text: str
    before: str
    action: str


def decider(policy: Policy, rest: str = "") -> Decide:
    """What decides on edited messages.

    Args:
        policy: What routes.
        rest: What follows the part of the message that the model reads: the policy's terms are looked for there too.
    """
    return lambda probabilities, text: policy.route(probabilities, text + rest).action


def is_fragile(text: str, full: Probabilities, run: Run, decide: Decide) -> bool:
    """Whether changes that mean nothing, of case, marks or spelling, change the action of a message.

    One of them alone does not count: a single word that the model cannot read when it is misspelt says little
    about the message as it stands.

    Args:
        text: The message, or the part of it that the model reads.
        full: Its probabilities.
        run: What runs the model.
        decide: What decides, see `decider`.
    """
    edits = noisy(text)
    found = run([other for _, other in edits]) if edits else []
    return enough(flips(edits, found, decide, decide(full, text)), edits)


def flips(edits: Sequence[Edit], found: Sequence[Probabilities], decide: Decide, action: str) -> list[Change]:
    """All edits whose message has another action; the arguments are `first_change`'s."""
    each = (first_change([edit], [shares], decide, action) for edit, shares in zip(edits, found, strict=True))
    return [change for change in each if change]


def enough(changes: Sequence[Change], edits: Sequence[Edit]) -> bool:
    """Whether so many of the edits change the action that the message is fragile."""
    return bool(changes) and len(changes) >= min(FLIPS, len(edits))


def noisy(text: str) -> list[Edit]:
    """Changes that mean nothing: all capitals, small letters, no marks, a letter doubled in each of the longest words.

    A doubled letter is the mildest of typos: people read over it, and it seldom makes another word.

    Args:
        text: The message.
    """
    edits = [
        ("In capitals", text.upper()),
        ("In small letters", text.lower()),
        ("Without punctuation marks", re.sub(r"[.,!?]+(?=\s|$)", "", text)),
    ]
    longest = sorted(re.finditer(r"[^\W\d_]{4,}", text), key=lambda match: match.start() - match.end())
    for match in longest[:TYPOS]:
        word = match.group()
        typo = word[:-1] + word[-2:]
        edits.append((f"With “{typo}” for “{word}”", edited(text, {match.span(): typo})))
    unlike = {changed: edit for edit, changed in reversed(edits) if changed != text and re.search(r"\w", changed)}
    return [(edit, changed) for changed, edit in unlike.items()]


def smallest_change(
    text: str, spans: Sequence[Span], singles: Sequence[Probabilities], run: Run, decide: Decide, action: str
) -> tuple[Change | None, int]:
    """The first edit that changes the action, fewest words first, and the number of edits tried.

    Tried are: each word dropped, a phrase made calmer, two and three of the first CANDIDATES words dropped.

    Args:
        text: The message.
        spans: Its words, those that speak most for the action first.
        singles: The probabilities of the message without each of them.
        run: What runs the model.
        decide: What decides.
        action: The action of the message as it stands.
    """
    edits = [without(text, [span]) for span in spans]
    change, tried = first_change(edits, singles, decide, action), len(edits)
    if change is None:
        more = [drop for count in (2, 3) for drop in combinations(spans[:CANDIDATES], count)]
        edits = _calmer(text) + [without(text, drop) for drop in more]
        if edits:
            tried += len(edits)
            change = first_change(edits, run([other for _, other in edits]), decide, action)
    return change, tried


def first_change(edits: Sequence[Edit], found: Sequence[Probabilities], decide: Decide, action: str) -> Change | None:
    """The first of some edits whose message has another action.

    Args:
        edits: The edits.
        found: The probabilities of each edited message.
        decide: What decides.
        action: The action of the message as it stands.
    """
    for (edit, text), probabilities in zip(edits, found, strict=True):
        new = decide(probabilities, text)
        if new != action:
            return Change(edit, text, action, new)
    return None


def without(text: str, drop: Sequence[Span]) -> Edit:
    """The edit that drops some words.

    Args:
        text: The message.
        drop: The words.
    """
    quoted = [f"“{text[start:end]}”" for start, end in sorted(drop)]
    names = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
    return f"Without {names}", edited(text, dict.fromkeys(drop, ""))


def edited(text: str, changes: Mapping[Span, str]) -> str:
    """The message with the text of some spans replaced; never nothing to read.

    Args:
        text: The message.
        changes: What takes the place of each span.
    """
    for (start, end), new in sorted(changes.items(), reverse=True):
        text = text[:start] + new + (text[end:] if new else text[end:].lstrip())
    return text.strip() if re.search(r"\w", text) else NOTHING


def _calmer(text: str) -> list[Edit]:
    edits = []
    for phrase, calmer in CALMER.items():
        match = re.search(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE)
        if match:
            edits.append((f"With “{calmer}” for “{match.group()}”", edited(text, {match.span(): calmer})))
    return edits
