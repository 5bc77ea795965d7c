"""Labelled messages: read from files, checked against the task set, and identified by a hash."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ClassifierError
from .noise import EVALUATION_NOISE, NoiseSettings, add_noise
from .tables import Table, read_table
from .tasks import Label, Task, TaskSet

#: Stands for a label that a row does not have; torch's cross-entropy ignores it.
MISSING = -100


@dataclass(frozen=True)
class Examples:
    """Messages and their labels.

    Attributes:
        texts: The messages, (n,).
        labels: Task to label indices, (n,) int64, MISSING where a row has none.
        weights: How much each row counts in the loss, (n,) float32, or None where all count 1.
        soft: Task to the teachers' probabilities, (n, labels) float32; empty without teachers.
    """

    texts: list[str]
    labels: Mapping[str, NDArray[np.int64]]
    weights: NDArray[np.float32] | None = None
    soft: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Examples:
        """The rows of these positions, in their order."""
        rows = np.asarray(rows, np.int64)
        return Examples(
            [self.texts[row] for row in rows],
            {task: values[rows] for task, values in self.labels.items()},
            None if self.weights is None else self.weights[rows],
            {task: values[rows] for task, values in self.soft.items()},
        )

    @property
    def row_weights(self) -> NDArray[np.float32]:
        """How much each row counts in the loss, (n,)."""
        return np.ones(len(self), np.float32) if self.weights is None else self.weights

    def content_hash(self) -> str:
        """16 hex digits that identify texts, labels and weights, in whatever order the rows stand."""
        rows = sorted(
            f"{text}\x1f{[int(values[row]) for values in self.labels.values()]}\x1f{self.row_weights[row]:g}"
            for row, text in enumerate(self.texts)
        )
        return hashlib.sha256("\x1e".join([*self.labels, *rows]).encode()).hexdigest()[:16]


@dataclass
class DataReport:
    """What was found in the data, as counts.

    Attributes:
        rows: Rows read, per file name or Hub data set.
        empty: Rows dropped because they hold no text.
        duplicates: Rows dropped because the same text stands before them.
        conflicts: Those of the duplicates that were labelled differently; the first reading was kept.
        held_out: Rows dropped because the text stands in a held-out file.
    """

    rows: dict[str, int] = field(default_factory=dict)
    empty: int = 0
    duplicates: int = 0
    conflicts: int = 0
    held_out: int = 0


def read_examples(
    path: str | Path,
    tasks: TaskSet,
    *,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    weight: float = 1.0,
    report: DataReport | None = None,
) -> Examples:
    """Read labelled messages.

    Tasks whose column the table lacks, and cells that are empty, become MISSING. Rows without text are
    dropped.

    Args:
        path: A CSV, Excel, JSON, JSON Lines or Parquet file, gzip'd or not, or the name of a Hub data set,
            ``owner/name`` or ``owner/name:configuration``.
        tasks: The task set that the labels belong to.
        columns: ``"text"`` or a task's name to the column that holds it, where the names differ.
        split: Which split of a Hub data set.
        weight: How much each row counts in the loss.
        report: Counts what is read and dropped.

    Raises:
        ClassifierError: The table cannot be read, lacks the text column, a column named in `columns` or
            every task's column, or holds a label outside the task set.
    """
    return _examples(str(path), read_table(path, split), tasks, columns or {}, weight, report)


def read_auxiliary(
    name: str, path: str | Path, column: str | None = None, *, split: str = "train", report: DataReport | None = None
) -> tuple[Task, Examples]:
    """Read a table whose labels declare a task by themselves, in alphabetical order.

    Args:
        name: Name of the task.
        path: As in `read_examples`.
        column: The column with the labels; the only one beside ``text`` if None.
        split: Which split of a Hub data set.
        report: Counts what is read and dropped.

    Returns:
        The task and its examples.

    Raises:
        ClassifierError: The table cannot be read, or it isn't clear which column holds the labels.
    """
    table = read_table(path, split)
    others = [found for found in table if found != "text"]
    if column is None and len(others) == 1:
        column = others[0]
    if column is None or column not in table:
        raise ClassifierError(
            f"{str(path)!r} has the columns {', '.join(table)}; it isn't clear which one holds the labels of "
            f"{name!r}. Name it: {name}={path}:COLUMN."
        )
    labels = sorted({str(value) for value in table[column] if value not in (None, "")})
    task = Task(name, f"{name} (auxiliary)", tuple(Label(label) for label in labels))
    tasks = TaskSet(name, name, (task,))
    return task, _examples(str(path), table, tasks, {name: column}, 1.0, report)


def read_unlabelled(path: str | Path, tasks: TaskSet, *, report: DataReport | None = None) -> Examples:
    """Read messages without labels, for teachers to answer; columns other than ``text`` are not looked at.

    Args:
        path: As in `read_examples`.
        tasks: The task set; every label is MISSING.
        report: Counts what is read and dropped.

    Raises:
        ClassifierError: The table cannot be read, lacks the column ``text``, or holds no messages.
    """
    table = read_table(path)
    if "text" not in table:
        raise ClassifierError(f"{str(path)!r} has no column 'text'; it has {', '.join(map(repr, table)) or 'none'}.")
    return _rows(str(path), table["text"], {}, tasks, 1.0, report)


def _examples(
    path: str,
    table: Table,
    tasks: TaskSet,
    columns: Mapping[str, str],
    weight: float,
    report: DataReport | None,
) -> Examples:
    names = {"text": "text", **{name: name for name in tasks.task_names}, **columns}
    _check_columns(path, table, names, tasks, columns)
    labels = {
        task.name: _indices(path, task, table[names[task.name]]) for task in tasks.tasks if names[task.name] in table
    }
    return _rows(path, table[names["text"]], labels, tasks, weight, report)


def _rows(
    path: str,
    cells: Sequence[Any],
    labels: Mapping[str, NDArray[np.int64]],
    tasks: TaskSet,
    weight: float,
    report: DataReport | None,
) -> Examples:
    """The rows that hold text; tasks without labels are MISSING throughout."""
    texts = ["" if text is None else str(text) for text in cells]
    missing = np.full(len(texts), MISSING, np.int64)
    full = [row for row, text in enumerate(texts) if text.strip()]
    if not full:
        raise ClassifierError(f"{path!r} holds no messages; expected at least one row with text.")
    if report is not None:
        name = Path(path).name if Path(path).exists() else path  # reports are published: no folders of this machine
        report.rows[name] = report.rows.get(name, 0) + len(texts)
        report.empty += len(texts) - len(full)
    everything = {name: labels.get(name, missing) for name in tasks.task_names}
    return Examples(texts, everything, np.full(len(texts), weight, np.float32)).take(full)


def _check_columns(
    path: str, table: Mapping[str, Sequence[Any]], names: Mapping[str, str], tasks: TaskSet, mapped: Mapping[str, str]
) -> None:
    unknown = sorted(mapped.keys() - {"text", *tasks.task_names})
    if unknown:
        raise ClassifierError(
            f"Columns are mapped for {', '.join(unknown)}; expected text or a task: {', '.join(tasks.task_names)}."
        )
    missing = [names[name] for name in ("text", *mapped) if names[name] not in table]
    if not missing and not any(names[name] in table for name in tasks.task_names):
        missing = [names[name] for name in tasks.task_names]
    if missing:
        raise ClassifierError(
            f"{path!r} has no column {' or '.join(repr(name) for name in dict.fromkeys(missing))}; it has "
            f"{', '.join(map(repr, table)) or 'none'}. Rename it, or map it with --column NAME=COLUMN."
        )


def _indices(path: str, task: Task, values: Sequence[Any]) -> NDArray[np.int64]:
    known = {name: index for index, name in enumerate(task.label_names)}
    indices = np.full(len(values), MISSING, np.int64)
    for row, value in enumerate(values):
        if value is None or not str(value).strip():
            continue
        if str(value).strip() not in known:
            raise ClassifierError(
                f"{path!r}, row {row + 1}: {value!r} is not a label of {task.name!r}; its labels are "
                f"{', '.join(task.label_names)}. Correct the row, leave the cell empty, or choose other --tasks."
            )
        indices[row] = known[str(value).strip()]
    return indices


def concatenate(parts: Sequence[Examples]) -> Examples:
    """The rows of all parts, which have the same tasks."""
    return Examples(
        [text for part in parts for text in part.texts],
        {task: np.concatenate([part.labels[task] for part in parts]) for task in parts[0].labels},
        np.concatenate([part.row_weights for part in parts]),
    )


def text_key(text: str) -> str:
    """What two messages share when they differ only in case and white space."""
    return " ".join(text.lower().split())


def deduplicate(examples: Examples, held_out: Sequence[Examples] = (), report: DataReport | None = None) -> Examples:
    """Keep the first row of each text, and none that stands in a held-out set.

    A text that several sources label for different tasks stays one row per task set labelled: only a row
    that adds no label to the earlier ones is a duplicate.

    Args:
        examples: The rows.
        held_out: Examples that must not be trained on.
        report: Counts what is dropped.
    """
    report = report or DataReport()
    closed = {text_key(text) for part in held_out for text in part.texts}
    seen: dict[str, dict[str, int]] = {}
    keep = []
    for row, text in enumerate(examples.texts):
        key = text_key(text)
        if key in closed:
            report.held_out += 1
            continue
        labels = {task: int(values[row]) for task, values in examples.labels.items() if values[row] != MISSING}
        first, before = key not in seen, seen.setdefault(key, {})
        if not first and labels.keys() <= before.keys():
            report.duplicates += 1
            report.conflicts += any(before[task] != label for task, label in labels.items())
            continue
        before.update({task: label for task, label in labels.items() if task not in before})
        keep.append(row)
    return examples.take(keep)


def describe(examples: Examples, tasks: TaskSet) -> dict[str, Any]:
    """Size, lengths in characters and share of each label, as plain data for a report."""
    lengths = np.array([len(text) for text in examples.texts] or [0])
    shares = {}
    for task in tasks.tasks:
        known = examples.labels[task.name][examples.labels[task.name] != MISSING]
        counts = np.bincount(known, minlength=len(task.labels))
        shares[task.name] = {
            "labelled": len(known),
            "shares": {
                name: round(float(count) / max(len(known), 1), 4)
                for name, count in zip(task.label_names, counts, strict=True)
            },
        }
    return {
        "rows": len(examples),
        "characters": {"median": float(np.median(lengths)), "p95": float(np.percentile(lengths, 95))},
        "tasks": shares,
        "hash": examples.content_hash(),
    }


def mood_tones(examples: Examples, tasks: TaskSet) -> list[str | None]:
    """Per row the tone of its mood label, None where it has none."""
    if tasks.mood_task is None:
        return [None] * len(examples)
    tones = [label.tone for label in tasks.task(tasks.mood_task).labels]
    return [None if index == MISSING else tones[index] for index in examples.labels[tasks.mood_task]]


def noisy_copy(
    examples: Examples, tasks: TaskSet, *, seed: int | str = 0, settings: NoiseSettings = EVALUATION_NOISE
) -> Examples:
    """The same rows with noise, fixed by the seed: each row's noise depends on its position and nothing else.

    Args:
        examples: The rows.
        tasks: The task set, for the tone of each row's mood.
        seed: Another seed, another copy.
        settings: How often and how strongly; the noise of evaluation copies by default.
    """
    noisy = [
        add_noise(text, random.Random(f"{seed}/{row}"), settings, tone)
        for row, (text, tone) in enumerate(zip(examples.texts, mood_tones(examples, tasks), strict=True))
    ]
    return replace(examples, texts=noisy)
