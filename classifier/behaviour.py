"""What a model must and must not do: fixed messages with expectations, in the manner of CheckList.

Source: Ribeiro et al. (2020), "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList". Three kinds of
case: a minimum functionality test (MFT) names the answers that count as right, an invariance test (INV) changes a
message in a way that must not matter, a directional test (DIR) in a way that must move a probability. Beside them,
bias probes fill names, dialects and manners into one message and count how often the route changes.

Every expectation stands in the data files; the code knows no label.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .errors import ClassifierError
from .predict import Classifier, Result

#: The key that stands for the action of the route, beside the names of the tasks.
ROUTE = "route"

#: The cases that come with a checkout.
CASES = Path(__file__).parents[1] / "tests" / "data"

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


Case = Annotated[MinimumFunctionality | Invariance | Direction, Field(discriminator="kind")]

_CASE: TypeAdapter[Case] = TypeAdapter(Case)
_PROBE = TypeAdapter(Probe)


def read_cases(path: str | Path) -> list[MinimumFunctionality | Invariance | Direction]:
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


def check(classifier: Classifier, cases: Sequence[MinimumFunctionality | Invariance | Direction]) -> dict[str, Any]:
    """Run cases through a model.

    Args:
        classifier: The model.
        cases: What it must do.

    Returns:
        ``n``, ``passed``, ``share`` and ``interval`` (95 %) of all cases, the same of each kind under ``kinds`` and
        of each group under ``groups``, and ``failures``: kind, group, texts and fault of each failed case.

    Raises:
        ClassifierError: A case names a task or label that the model does not have.
    """
    for case in cases:
        _check_names(classifier, case)
    results = classifier.classify_many(text for case in cases for text in case.texts)
    passed: dict[str, dict[str, list[bool]]] = {"kinds": defaultdict(list), "groups": defaultdict(list)}
    failures = []
    for case in cases:
        fault = case.fault(*(next(results) for _ in case.texts))
        passed["kinds"][case.kind].append(not fault)
        passed["groups"][case.group].append(not fault)
        if fault:
            failures.append({"kind": case.kind, "group": case.group, "texts": list(case.texts), "fault": fault})
    return {
        **_share(len(cases) - len(failures), len(cases)),
        **{name: {key: _share(sum(good), len(good)) for key, good in of.items()} for name, of in passed.items()},
        "failures": failures,
    }


def probe(classifier: Classifier, probes: Sequence[Probe]) -> dict[str, Any]:
    """Count how often a wording that must not matter changes the route.

    Args:
        classifier: The model.
        probes: Messages in several wordings.

    Returns:
        Pairs of a message and another wording of it: ``n``, ``passed`` (same route), ``share`` and ``interval``
        (95 %; it takes pairs as independent, though those of one probe are not), the same of each group under
        ``groups``, and ``failures``. The flip rate is 1 - share.
    """
    results = classifier.classify_many(text for case in probes for text in case.texts)
    passed: dict[str, list[bool]] = defaultdict(list)
    failures = []
    for case in probes:
        base, *others = case.texts
        expected = answer(next(results), ROUTE)
        for text in others:
            found = answer(next(results), ROUTE)
            passed[case.group].append(found == expected)
            if found != expected:
                fault = f"{ROUTE} went from {expected} to {found}"
                failures.append({"kind": "bias", "group": case.group, "texts": [base, text], "fault": fault})
    pairs = [same for group in passed.values() for same in group]
    groups = {group: _share(sum(same), len(same)) for group, same in passed.items()}
    return {**_share(sum(pairs), len(pairs)), "groups": groups, "failures": failures}


def run(classifier: Classifier, folder: str | Path) -> dict[str, Any]:
    """Run every file of a folder: safety.jsonl and behaviour.jsonl (cases), bias.jsonl (probes).

    Args:
        classifier: The model.
        folder: Where the files are.

    Returns:
        A report for each file, by its name without ending.

    Raises:
        ClassifierError: A file is missing or damaged, or does not fit the model.
    """
    folder = Path(folder)
    return {
        "safety": check(classifier, read_cases(folder / "safety.jsonl")),
        "behaviour": check(classifier, read_cases(folder / "behaviour.jsonl")),
        "bias": probe(classifier, read_probes(folder / "bias.jsonl")),
    }


def answer(result: Result, key: str) -> str:
    """A result's label of a task, or its route's action for ``"route"``."""
    return result.route.action if key == ROUTE else result.labels[key]


def wilson(passed: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927), which stays honest at 100 %, where a bootstrap has no width.

    Args:
        passed: How many passed.
        n: Of how many, at least 1.
    """
    z, share = 1.959964, passed / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def as_text(reports: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Reports as lines for people: a share for each file and group, then the failures.

    Args:
        reports: Name of a set of cases to what `check` or `probe` returned.
    """
    for name, report in reports.items():
        yield f"{name:34} {_line(report)}"
        for key, of in {**report.get("kinds", {}), **report["groups"]}.items():
            yield f"  {key:32} {_line(of)}"
    for name, report in reports.items():
        for failure in report["failures"]:
            yield f"\n{name}, {failure['group']}: {failure['fault']}"
            yield from (f"    {text}" for text in failure["texts"])


def _line(of: Mapping[str, Any]) -> str:
    low, high = of["interval"]
    return f"{of['passed']:4} of {of['n']:4}  {of['share']:6.1%}  ({low:.1%} to {high:.1%})"


def _share(passed: int, n: int) -> dict[str, Any]:
    low, high = wilson(passed, n)
    return {"passed": passed, "n": n, "share": round(passed / n, 4), "interval": [round(low, 4), round(high, 4)]}


def _check_names(classifier: Classifier, case: MinimumFunctionality | Invariance | Direction) -> None:
    """Make sure that the model has every task and label that a case names."""
    named: dict[str, list[str]]
    if isinstance(case, MinimumFunctionality):
        named = case.expect
    elif isinstance(case, Invariance):
        named = {key: [] for key in case.same}
    else:
        named = {case.task: [case.label]}
    for key, labels in named.items():
        known = classifier.policy.actions if key == ROUTE else classifier.tasks.task(key).label_names
        unknown = sorted(set(labels) - set(known))
        if unknown:
            raise ClassifierError(
                f"The case {json.dumps(case.texts[0][:40])} names {', '.join(unknown)} for {key}, "
                f"which this model does not have; use {', '.join(known)}."
            )
