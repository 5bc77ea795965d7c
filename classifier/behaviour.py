"""What a model must and must not do: runs the cases and bias probes of `cases`, with pass shares and intervals.

Every expectation stands in the data files; the code knows no label.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .cases import ROUTE, Case, Probe, answer, read_cases, read_probes
from .errors import ClassifierError
from .predict import Classifier

#: The cases that come with a checkout.
CASES = Path(__file__).parents[1] / "tests" / "data"


def check(classifier: Classifier, cases: Sequence[Case]) -> dict[str, Any]:
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


def _check_names(classifier: Classifier, case: Case) -> None:
    """Make sure that the model has every task and label that a case names."""
    for key, labels in case.named.items():
        known = classifier.policy.actions if key == ROUTE else classifier.tasks.task(key).label_names
        unknown = sorted(set(labels) - set(known))
        if unknown:
            raise ClassifierError(
                f"The case {case.text[:40]!r} names {', '.join(unknown)} for {key}, "
                f"which this model does not have; use {', '.join(known)}."
            )
