"""The data of a run: read, cleaned, split, and described for the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .data import read_auxiliary, read_examples, read_unlabelled
from .desks import desk
from .errors import ClassifierError
from .examples import MISSING, DataReport, Examples, concatenate, deduplicate, describe
from .folder import read_json
from .settings import TrainSettings
from .spelling import check_dictionary
from .splits import split
from .tasks import TaskSet


@dataclass(frozen=True)
class Prepared:
    """The data of a run.

    Attributes:
        tasks: The task set.
        all_tasks: The same with the auxiliary tasks.
        train: Training examples, labels of all tasks.
        validation: Held out, for early stopping and the choice of the best weights.
        dev: Held out, for calibration and the report, or None to use the validation split.
        report: Counts, label shares and hashes, as plain data.
    """

    tasks: TaskSet
    all_tasks: TaskSet
    train: Examples
    validation: Examples
    dev: Examples | None
    report: dict[str, Any]


def read_task_set(name: str) -> TaskSet:
    """A task set by its name, or from a JSON file as `TaskSet.to_dict` writes it.

    Raises:
        ClassifierError: There is none, or the file cannot be read as one.
    """
    return TaskSet.from_dict(read_json(Path(name))) if name.endswith(".json") else desk(name)


def prepare(settings: TrainSettings) -> Prepared:
    """Read, check, clean and split the data.

    Raises:
        ClassifierError: A file, column or label is wrong, or a split would be empty.
    """
    tasks = read_task_set(settings.tasks)
    if settings.spelling and not settings.teacher:
        check_dictionary()  # before hours of training, not after
    found = DataReport()
    auxiliary = [read_auxiliary(aux.name, aux.path, aux.column, report=found) for aux in settings.aux]
    further = tuple(task for task, _ in auxiliary)
    all_tasks = TaskSet(tasks.name, tasks.title, tasks.tasks + further, mood_task=tasks.mood_task)

    unknown = settings.task_weights.keys() - set(all_tasks.task_names)
    if unknown:
        raise ClassifierError(
            f"task_weights names {', '.join(sorted(unknown))}; expected tasks: {', '.join(all_tasks.task_names)}."
        )

    def held_out(path: str) -> Examples:
        return deduplicate(_widen(read_examples(path, tasks, columns=settings.columns, lenient=True), all_tasks))

    parts = [
        read_examples(source.path, tasks, columns=source.columns, weight=source.weight, report=found)
        for source in settings.data
    ]
    parts += [examples for _, examples in auxiliary]
    if settings.unlabelled and not settings.teachers:
        raise ClassifierError("Messages without labels are learned from teachers' answers; give --teachers too.")
    parts += [read_unlabelled(path, tasks, report=found) for path in settings.unlabelled]
    dev = None if settings.dev is None else held_out(settings.dev)
    closed = [] if dev is None else [dev]
    train = deduplicate(concatenate([_widen(part, all_tasks) for part in parts]), closed, found)
    if settings.validation is None:
        train, validation = split(train, tasks, settings.validation_share, seed=settings.seed)
    else:
        validation = held_out(settings.validation)
    train = deduplicate(train, [*closed, validation], found)
    if not any((train.labels[name] != MISSING).any() for name in tasks.task_names):
        raise ClassifierError(
            "The training split is empty: all messages stand in the validation or dev file, or none has a "
            f"label of {', '.join(tasks.task_names)}. Give other --data."
        )
    report = {
        "found": asdict(found),
        "train": describe(train, all_tasks),
        "validation": describe(validation, tasks),
        **({} if dev is None else {"dev": describe(dev, tasks)}),
    }
    return Prepared(tasks, all_tasks, train, validation, dev, report)


def _widen(examples: Examples, tasks: TaskSet) -> Examples:
    """The same rows with MISSING for every further task."""
    missing = np.full(len(examples), MISSING, np.int64)
    return Examples(
        examples.texts,
        {name: examples.labels.get(name, missing) for name in tasks.task_names},
        examples.row_weights,
    )
