"""Two models on the same labelled messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import ClassifierError
from .examples import MISSING, Examples
from .predict import Classifier


def compare_models(new: Classifier, current: Classifier, examples: Examples) -> list[dict[str, Any]]:
    """Compare two models message by message.

    Args:
        new: One model.
        current: The other.
        examples: Messages with the new model's tasks, which neither should have learned from.

    Returns:
        Per task that both answer with the same labels: ``n``, accuracies ``current`` and ``new``, and the
        95 % ``interval`` of their paired difference.

    Raises:
        ClassifierError: The models share no task, or no message has a label of one.
    """
    labels = {task.name: set(task.label_names) for task in current.tasks.tasks}
    shared = [task for task in new.tasks.tasks if labels.get(task.name) == set(task.label_names)]
    if not shared:
        raise ClassifierError("The current model answers other tasks; there is nothing to compare.")
    answers = {
        name: [result.labels for result in model.classify_many(examples.texts)]
        for name, model in {"current": current, "new": new}.items()
    }
    rows = []
    for task in shared:
        known = np.flatnonzero(examples.labels[task.name] != MISSING)
        if not len(known):
            continue
        truth = [task.label_names[index] for index in examples.labels[task.name][known]]
        right = {
            name: np.array([found[row][task.name] == label for row, label in zip(known, truth, strict=True)], float)
            for name, found in answers.items()
        }
        difference = right["new"] - right["current"]
        half = 1.96 * difference.std() / np.sqrt(len(known))
        mean = float(difference.mean())
        accuracies = {name: float(values.mean()) for name, values in right.items()}
        rows.append({"task": task.name, "n": len(known), **accuracies, "interval": [mean - half, mean + half]})
    if not rows:
        raise ClassifierError("No message that was held out has a label of a task that both models answer.")
    return rows
