"""Labelled messages are read from tables and checked against the task set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from .errors import ClassifierError
from .examples import MISSING, DataReport, Examples
from .tables import Table, read_table
from .tasks import Label, Task, TaskSet


def read_examples(
    path: str | Path,
    tasks: TaskSet,
    *,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    weight: float = 1.0,
    report: DataReport | None = None,
    lenient: bool = False,
) -> Examples:
    """Read labelled messages.

    Tasks whose column the table lacks, and cells that are empty, become MISSING. Rows without text are
    dropped.

    Args:
        path: A CSV, Excel, JSON, JSON Lines or Parquet file, gzip'd or not, or the name of a Hub data set,
            ``owner/name``, ``owner/name:configuration`` or ``owner/name:configuration@split``.
        tasks: The task set that the labels belong to.
        columns: ``"text"`` or a task's name to the column that holds it, where the names differ.
        split: Which split of a Hub data set that names none.
        weight: How much each row counts in the loss.
        report: Counts what is read and dropped.
        lenient: Whether a mapped column that the table lacks may stand there under its own name.

    Raises:
        ClassifierError: The table cannot be read, lacks the text column, a column named in `columns` or
            every task's column, or holds a label outside the task set.
    """
    table, columns = read_table(path, split), dict(columns or {})
    if lenient:
        columns = {name: column for name, column in columns.items() if column in table or name not in table}
    return _examples(str(path), table, tasks, columns, weight, report)


def read_auxiliary(
    name: str, path: str | Path, column: str | None = None, *, split: str = "train", report: DataReport | None = None
) -> tuple[Task, Examples]:
    """Read a table whose labels declare a task by themselves, in alphabetical order.

    Args:
        name: Name of the task.
        path: As in `read_examples`.
        column: The column with the labels; the only one beside ``text`` if None.
        split: Which split of a Hub data set that names none.
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
            f"{name!r}. Name it: {name}={path}:COLUMN, or {name}=OWNER/NAME@train:COLUMN for a data set of the Hub."
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


#: Categories of signs that a tokenizer drops; what this Python's Unicode does not know yet ("Cn") may be an emoji.
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Mn", "Zl", "Zp", "Zs"})


def _holds_something(text: str) -> bool:
    """Whether a tokenizer makes anything of a text: of spaces, zero-width and control signs alone it doesn't."""
    return any(sign != "\ufffd" and category(sign) not in _UNSEEN for sign in text)


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
    full = [row for row, text in enumerate(texts) if _holds_something(text)]
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
