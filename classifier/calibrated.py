"""Logits become calibrated probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .tasks import TaskSet


class CalibratedSoftmax:
    """The softmax of each task's logits over its temperature (Guo et al. 2017, arXiv:1706.04599).

    The labels of all tasks stand side by side, so that one pass serves them all.

    Args:
        tasks: The tasks, in the order of the model's outputs.
        temperatures: Of each task.
    """

    def __init__(self, tasks: TaskSet, temperatures: Mapping[str, float]) -> None:
        sizes = np.array([len(task.labels) for task in tasks.tasks], np.int64)
        ends = sizes.cumsum(dtype=np.int64)
        self._starts: NDArray[np.int64] = ends - sizes
        self._task = np.repeat(np.arange(len(sizes)), sizes)
        self._temperatures = np.array([temperatures[task.name] for task in tasks.tasks], np.float32)[self._task]
        self._outputs = [
            (task.name, task.label_names, slice(start, end))
            for task, start, end in zip(tasks.tasks, self._starts, ends, strict=True)
        ]

    def __call__(self, logits: Sequence[NDArray[np.float32]]) -> Iterator[dict[str, dict[str, float]]]:
        """Task to label to probability, for each message of a batch.

        Args:
            logits: Of each task, (batch, labels).
        """
        values = np.concatenate(logits, axis=1) / self._temperatures
        shares = np.exp(values - np.maximum.reduceat(values, self._starts, axis=1)[:, self._task])
        shares /= np.add.reduceat(shares, self._starts, axis=1)[:, self._task]
        for row in shares.astype(np.float64).tolist():
            yield {name: dict(zip(labels, row[own], strict=True)) for name, labels, own in self._outputs}
