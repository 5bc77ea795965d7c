"""A look at training data before a run: how much there is, and what is uneven."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ClassifierError
from .estimates import CHARACTERS_PER_TOKEN
from .examples import MISSING, DataReport, Examples
from .folder import write_json
from .prepare import prepare
from .settings import TrainSettings
from .tables import read_table
from .tasks import Label, Task, TaskSet

#: Below these a label is hardly learned.
FEW_EXAMPLES, SMALL_SHARE = 20, 0.02

#: A task declared from a column has at most this many labels; more are rather numbers or names.
MOST_LABELS = 60


@dataclass(frozen=True)
class DataCheck:
    """What was found.

    Attributes:
        tasks: The task set.
        train: What would be trained on.
        validation: What would be held out.
        found: Rows read and dropped, as counts.
        summary: Size, lengths and label shares of the training part.
        warnings: What may go wrong, a sentence each.
    """

    tasks: TaskSet
    train: Examples
    validation: Examples
    found: DataReport
    summary: Mapping[str, Any]
    warnings: tuple[str, ...]


def declare_tasks(path: str | Path, columns: Mapping[str, str], out: Path) -> TaskSet:
    """Write the declaration of a task set for a table of one's own: a task per column, its values the labels.

    Args:
        path: The table.
        columns: Task name to column.
        out: The JSON file to write.

    Raises:
        ClassifierError: A column has a single value, or so many that it holds no labels.
    """
    table = read_table(path)
    tasks = []
    for name, column in columns.items():
        if column not in table:
            raise ClassifierError(f"The table has no column {column!r}; it has {', '.join(table)}.")
        labels = sorted({str(value).strip() for value in table[column] if value is not None and str(value).strip()})
        if len(labels) > MOST_LABELS:
            raise ClassifierError(
                f"Column {column!r} has {len(labels)} different values; a task has at most {MOST_LABELS} labels. "
                "Choose a column that holds labels."
            )
        tasks.append(Task(name, f"What is the {name.replace('_', ' ')}?", tuple(Label(label) for label in labels)))
    declared = TaskSet("own", "Own labels", tuple(tasks))
    write_json(out, declared.to_dict())
    return declared


def check_data(settings: TrainSettings) -> DataCheck:
    """Read, clean and split the data just as training would.

    Raises:
        ClassifierError: As `prepare`.
    """
    data = prepare(settings)
    found = DataReport(**data.report["found"])
    warnings = tuple(_warnings(data.train, data.tasks, found, settings))
    return DataCheck(data.tasks, data.train, data.validation, found, data.report["train"], warnings)


def hold_out(check: DataCheck, settings: TrainSettings, folder: Path) -> dict[str, Any]:
    """Write the held-out messages to a file, so that the run and what is compared with it later see the same ones.

    Training leaves out of its data whatever stands in that file, so the data stay where they are.

    Args:
        check: The checked data.
        settings: The settings that they were checked for.
        folder: Where to write.

    Returns:
        The settings' values with that file as the validation file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, columns = folder / "validation.jsonl", settings.columns  # as in the dev file, where they are mapped
    with path.open("w", encoding="utf-8") as file:
        for row, text in enumerate(check.validation.texts):
            line: dict[str, str | None] = {columns.get("text", "text"): text}
            for task in check.tasks.tasks:
                label = int(check.validation.labels[task.name][row])
                line[columns.get(task.name, task.name)] = None if label == MISSING else task.label_names[label]
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return {**json.loads(settings.model_dump_json()), "validation": str(path)}


def _warnings(train: Examples, tasks: TaskSet, found: DataReport, settings: TrainSettings) -> Iterator[str]:
    if settings.aux or settings.unlabelled:  # rows that other tasks or the teachers have labels for
        labelled = np.any([train.labels[name] != MISSING for name in tasks.task_names], axis=0)
        train = train.take(np.flatnonzero(labelled))
    for task in tasks.tasks:
        known = train.labels[task.name][train.labels[task.name] != MISSING]
        if not len(known):
            yield f"No message has a label of {task.name}; the model cannot learn it."
            continue
        if len(known) < len(train):
            yield f"{len(train) - len(known):,} of {len(train):,} messages have no label of {task.name}."
        for label, count in zip(task.label_names, np.bincount(known, minlength=len(task.labels)), strict=True):
            if count == 0:
                yield f"{task.name}: no message is {label}; the model will never answer it."
            elif count < FEW_EXAMPLES or count / len(known) < SMALL_SHARE:
                yield f"{task.name}: only {count} messages are {label} ({count / len(known):.1%})."
    if found.conflicts:
        yield f"{found.conflicts} repeated messages are labelled differently each time; the first label counts."
    if found.held_out:
        yield f"{found.held_out} messages stand in a held-out file, too, and were left out of training."
    long = sum(len(text) > settings.max_tokens * CHARACTERS_PER_TOKEN for text in train.texts)
    if long:
        yield f"{long:,} messages are longer than about {settings.max_tokens} tokens; their ends are cut."
