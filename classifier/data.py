"""Labelled messages: read from files, checked against the task set, split and identified by a hash."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import ClassifierError
from .tasks import TaskSet

#: Stands for a label that a row does not have; torch's cross-entropy ignores it.
MISSING = -100


@dataclass(frozen=True)
class Examples:
    """Messages and their labels.

    Attributes:
        texts: The messages, (n,).
        labels: Task to label indices, (n,) int64, MISSING where a row has none.
    """

    texts: list[str]
    labels: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.texts)


def read_examples(path: str | Path, tasks: TaskSet) -> Examples:
    """Read labelled messages.

    Args:
        path: A JSON Lines file, gzip'd if it ends in ``.gz``, with ``text`` and one key per task.
        tasks: The task set that the labels belong to.

    Raises:
        ClassifierError: The file cannot be read, or holds a label outside the task set.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if str(path).endswith(".gz")
            else Path(path).open(encoding="utf-8") as f
        ):
            rows = [json.loads(line) for line in f]
    except (OSError, ValueError) as error:
        raise ClassifierError(f"{str(path)!r} cannot be read as JSON Lines: {error}.") from None
    labels = {
        task.name: np.array([task.index(row[task.name]) if row.get(task.name) else MISSING for row in rows], np.int64)
        for task in tasks.tasks
    }
    return Examples([row["text"] for row in rows], labels)
