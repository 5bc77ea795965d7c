"""Conditions and rules of a routing policy, and the words in which they explain themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from .reasons import Priority, capitalised, percent, words

Probabilities = Mapping[str, Mapping[str, float]]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


def _with_letters(term: str) -> str:
    if not re.search(r"\w", term):
        raise ValueError(f"the term {term!r} holds no letter or digit, so it cannot be found in a message")
    return term


#: What the terms that always escalate are called among the codes of safety rules.
ALWAYS = "always_escalate"

Term = Annotated[str, AfterValidator(_with_letters)]


class Strict(BaseModel):
    """Part of a policy file: unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Terms(Strict):
    """Words or phrases to find in a message.

    Attributes:
        terms: A trailing ``*`` matches any ending, a blank any white space. Case doesn't matter, and
            typographic apostrophes count as plain ones.
    """

    terms: list[Term] = []

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        terms = (re.escape(_plain(term.strip())) for term in self.terms)
        either = "|".join(re.sub(r"(\\ )+", r"\\s+", term).replace(r"\*", r"\w*") for term in terms)
        return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)

    def found_in(self, text: str) -> str | None:
        """The first of the terms that occurs, as written in the message; None when none does.

        Args:
            text: The message.
        """
        match = self._pattern.search(_plain(text)) if self.terms else None
        return None if match is None else text[match.start() : match.end()]


class Condition(Terms):
    """When a rule applies: every named task must agree, and a term must occur if terms are given.

    Attributes:
        labels: For each task, the labels that count.
        at_least: The least probability that the counting labels of a task need together.
    """

    labels: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    at_least: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5

    @field_validator("labels")
    @classmethod
    def _count_once(cls, labels: dict[str, list[str]]) -> dict[str, list[str]]:
        for task, names in labels.items():
            if len(set(names)) < len(names):
                raise ValueError(f"{task} lists a label twice, so that its probability would count twice")
        return labels

    def evidence(self, probabilities: Probabilities, text: str) -> Evidence | None:
        """What makes the condition true; None when it is false.

        Args:
            probabilities: Task to label to probability.
            text: The message.
        """
        shares = {}
        for task, labels in self.labels.items():
            own = probabilities[task]
            shares[task] = sum([own[label] for label in labels])
            if shares[task] < self.at_least:
                return None
        term = self.found_in(text)
        if self.terms and term is None:
            return None
        return Evidence({task: (_either(self.labels[task]), share) for task, share in shares.items()}, term)


class Evidence:
    """What made a condition true.

    Attributes:
        shares: Task to the labels that count, in words, and their probability together.
        term: The term that was found, as written in the message.
    """

    def __init__(self, shares: Mapping[str, tuple[str, float]], term: str | None) -> None:
        self.shares, self.term = shares, term

    def fill(self, template: str) -> str:
        """A reason's text from the template of its rule."""
        values = {"term": self.term}
        for task, (labels, share) in self.shares.items():
            values |= {task: labels, f"{task}_share": percent(share)}
        return capitalised(template.format_map(values))

    def __str__(self) -> str:
        parts = [f"{words(task)} {labels} ({percent(share)})" for task, (labels, share) in self.shares.items()]
        return ", ".join([*parts, f"the term “{self.term}”"] if self.term else parts)


class Rule(Condition):
    """A safety rule: where it applies, the route is at least as cautious as its action.

    Attributes:
        code: Names the rule in results, for programs.
        action: The least cautious action that it allows.
        text: The reason for people. ``{task}`` stands for the labels that count, ``{task_share}`` for
            their probability, ``{term}`` for the term that was found.
    """

    code: Name
    action: str
    text: Name

    @model_validator(mode="after")
    def _says_when_and_why(self) -> Rule:
        if not self.labels and not self.terms:
            raise ValueError(f"the rule {self.code} has neither labels nor terms, so it would always apply")
        known = {name for task in self.labels for name in (task, f"{task}_share")} | ({"term"} if self.terms else set())
        try:
            used = [(name, spec, how) for _, name, spec, how in Formatter().parse(self.text) if name is not None]
        except ValueError as error:
            raise ValueError(f"the text of the rule {self.code} has a stray brace ({error})") from None
        for name, spec, how in used:
            if name not in known or spec or how:
                choice = ", ".join(f"{{{word}}}" for word in sorted(known))
                raise ValueError(f"the text of the rule {self.code} uses {{{name}}}; it can use {choice}")
        return self


class QueueRule(Condition):
    """Sends messages to a queue; the first that applies wins.

    Attributes:
        queue: Where to.
        actions: Only messages with one of these actions; all if empty.
    """

    queue: Name
    actions: list[str] = []


class PriorityRule(Condition):
    """Gives messages a priority, ``"P1"`` (at once) to ``"P4"`` (when there is time); the first that applies wins.

    Attributes:
        priority: What it gives.
        because: Only messages to which one of these safety rules applies, by their codes, or `ALWAYS`; all if empty.
    """

    priority: Priority
    because: list[str] = []


def _either(labels: list[str]) -> str:
    return " or ".join(map(words, labels))


def _plain(text: str) -> str:
    return text.replace("’", "'")
