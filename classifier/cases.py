"""Fixed messages with expectations, in the manner of CheckList, and bias probes, as they stand in data files.

Source: Ribeiro et al. (2020), "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList". A minimum
functionality test (MFT) names the answers that count as right, an invariance test (INV) changes a message in a way
that must not matter, a directional test (DIR) in a way that must move a probability. A bias probe is one message in
several wordings (names, dialects, manners) that must get the same route.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .errors import ClassifierError
from .result import Result

#: The key that stands for the action of the route, beside the names of the tasks.
ROUTE = "route"

#: How far a probability may move against the direction before it counts, CheckList's tolerance.
TOLERANCE = 0.02


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str


class MinimumFunctionality(_Case):
    """One message, and for each task (or the route) the labels that count as right."""

    kind: Literal["MFT"]
    text: str
    expect: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(min_length=1)

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages that the model must answer for this case."""
        return (self.text,)

    @property
    def named(self) -> dict[str, list[str]]:
        """The tasks that the case is about, and the labels of each that it names."""
        return self.expect

    def fault(self, result: Result) -> str:
        """What is wrong with the answer; empty if nothing is."""
        wrong = [
            f"{key} is {answer(result, key)}, not {' or '.join(right)}"
            for key, right in self.expect.items()
            if answer(result, key) not in right
        ]
        return "; ".join(wrong)


class Invariance(_Case):
    """A message and a variant of it for which the tasks named in `same` must not change."""

    kind: Literal["INV"]
    text: str
    variant: str
    same: list[str] = Field(min_length=1)

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages that the model must answer for this case."""
        return (self.text, self.variant)

    @property
    def named(self) -> dict[str, list[str]]:
        """The tasks that the case is about, and the labels of each that it names."""
        return {key: [] for key in self.same}

    def fault(self, before: Result, after: Result) -> str:
        """What changed that must not; empty if nothing did."""
        moved = [key for key in self.same if answer(before, key) != answer(after, key)]
        return "; ".join(f"{key} went from {answer(before, key)} to {answer(after, key)}" for key in moved)


class Direction(_Case):
    """A message and a variant of it that must move the probability of one label up or down."""

    kind: Literal["DIR"]
    text: str
    variant: str
    task: str
    label: str
    direction: Literal["up", "down"]

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages that the model must answer for this case."""
        return (self.text, self.variant)

    @property
    def named(self) -> dict[str, list[str]]:
        """The tasks that the case is about, and the labels of each that it names."""
        return {self.task: [self.label]}

    def fault(self, before: Result, after: Result) -> str:
        """How the probability moved against the direction; empty if it didn't."""
        old, new = (result.probabilities[self.task][self.label] for result in (before, after))
        rise = new - old if self.direction == "up" else old - new
        return "" if rise >= -TOLERANCE else f"{self.task} {self.label} went from {old:.2f} to {new:.2f}"


class Probe(_Case):
    """One message in several wordings that must get the same route.

    Attributes:
        template: The message, with ``{}`` where the wordings go.
        fills: The wordings; the first makes the message that the others are compared with.
    """

    template: str = Field(pattern=r"\{\}")
    fills: list[str] = Field(min_length=2)

    @property
    def texts(self) -> tuple[str, ...]:
        """The message in each wording."""
        return tuple(self.template.replace("{}", fill) for fill in self.fills)


Case = MinimumFunctionality | Invariance | Direction

_CASE: TypeAdapter[Case] = TypeAdapter(Annotated[Case, Field(discriminator="kind")])
_PROBE = TypeAdapter(Probe)


def read_cases(path: str | Path) -> list[Case]:
    """Read MFT, INV and DIR cases from a JSON Lines file.

    Raises:
        ClassifierError: The file cannot be read, or a line is no case.
    """
    return _read(path, _CASE)


def read_probes(path: str | Path) -> list[Probe]:
    """Read bias probes from a JSON Lines file.

    Raises:
        ClassifierError: The file cannot be read, or a line is no probe.
    """
    return _read(path, _PROBE)


def _read(path: str | Path, adapter: TypeAdapter[Any]) -> list[Any]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ClassifierError(f"{str(path)!r} cannot be read ({error}); give a JSON Lines file of cases.") from None
    cases = []
    for number, line in enumerate(lines, 1):
        try:
            cases.append(adapter.validate_json(line))
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "the line"
            raise ClassifierError(f"{str(path)!r}, line {number}: {where}: {fault['msg']}. Correct it.") from None
    if not cases:
        raise ClassifierError(f"{str(path)!r} holds no cases; give a JSON Lines file with one case a line.")
    return cases


def answer(result: Result, key: str) -> str:
    """A result's label of a task, or its route's action for ``"route"``."""
    return result.route.action if key == ROUTE else result.labels[key]
