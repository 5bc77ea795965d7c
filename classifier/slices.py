"""Scores of parts of the messages: by source, by channel, or by whatever else a column says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ClassifierError
from .evaluate import OVERALL, evaluate, score
from .examples import MISSING, Examples
from .predict import Classifier
from .tables import read_table

#: Different values that a column may have; a column with more tells messages apart rather than kinds of them.
MOST_VALUES = 100


def read_values(path: str | Path, column: str) -> list[str]:
    """What a column says of each message that `data.read_examples` reads from the same table.

    Args:
        path: The table.
        column: The column; empty cells become ``""``.

    Raises:
        ClassifierError: There is no such column, or it has more than MOST_VALUES different values.
    """
    table = read_table(path)
    if column not in table:
        raise ClassifierError(f"{str(path)!r} has no column {column!r}; it has {', '.join(map(repr, table))}.")
    values = [
        "" if value is None else str(value).strip()
        for value, text in zip(table[column], table["text"], strict=True)
        if text is not None and str(text).strip()
    ]
    if len(set(values)) > MOST_VALUES:
        raise ClassifierError(
            f"Column {column!r} has {len(set(values)):,} different values; expected at most {MOST_VALUES}, "
            "such as sources or kinds of messages."
        )
    return values


def by_value(
    classifier: Classifier, examples: Examples, values: Sequence[str], *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Score each part of the messages by itself.

    Args:
        classifier: The model.
        examples: The messages, (n,).
        values: What tells the parts apart, (n,).
        seed: Seed of the bootstrap.

    Returns:
        Value to `n`, `accuracy` (task to share) and `all_right` (`share`, `n`, `interval`, or None), the value of
        most messages first. A part without any label is left out.
    """
    probabilities = score(classifier, examples.texts)
    names = np.array(values)
    found = {}
    for value in sorted(set(values), key=lambda value: (-values.count(value), value)):
        rows = np.flatnonzero(names == value)
        labels = {task: indices[rows] for task, indices in examples.labels.items()}
        if all(np.all(indices == MISSING) for indices in labels.values()):
            continue
        shares = {task: array[rows] for task, array in probabilities.items()}
        scores = evaluate(shares, labels, classifier.tasks, seed=seed, policy=classifier.policy)
        found[value] = {
            "n": len(rows),
            "accuracy": {task: scores[task]["accuracy"] for task in scores if task != OVERALL},
            "all_right": scores[OVERALL]["all_right"],
        }
    return found


def slices_table(column: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """What `by_value` found, as a Markdown table."""
    tasks = list(dict.fromkeys(task for part in found.values() for task in part["accuracy"]))
    lines = [f"| {column} | n | {' | '.join(tasks)} | all tasks right (95 %) |", f"|{'---|' * (len(tasks) + 3)}"]
    for value, part in found.items():
        cells = [f"{100 * part['accuracy'][task]:.1f} %" if task in part["accuracy"] else "" for task in tasks]
        together = part["all_right"]
        low, high = together["interval"] if together else (0, 0)
        cells.append(f"{100 * together['share']:.1f} % ({100 * low:.1f}–{100 * high:.1f})" if together else "")
        lines.append(f"| {value.replace('|', '/') or '(empty)'} | {part['n']} | {' | '.join(cells)} |")
    return "\n".join(lines)
