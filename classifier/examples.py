"""Labelled messages in memory: joined, deduplicated, described, made noisy, and identified by a hash."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .noise import EVALUATION_NOISE, NoiseSettings, add_noise
from .tasks import TaskSet

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
