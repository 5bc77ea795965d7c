"""Calibration: one temperature per task, so that an answer given with 80 % is right four times in five."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from .errors import ClassifierError
from .evaluate import calibration_error, calibration_errors, score
from .examples import MISSING, Examples
from .folder import CALIBRATION, read_json, write_json
from .predict import Classifier

Logits = Mapping[str, NDArray[np.floating[Any]]]
Labels = Mapping[str, NDArray[np.int64]]

#: Temperatures that are looked at, from sharper to much softer.
_RANGE = (0.05, 20.0)

#: Parts of the cross-validation.
FOLDS = 5

#: Sets of outcomes drawn for the calibration error of chance alone.
_DRAWS = 1000


def fit_temperatures(logits: Logits, labels: Labels) -> dict[str, float]:
    """The temperature of each task that makes the labels most likely (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: Task to (n, labels), from messages that the model was not trained on.
        labels: Task to label indices, (n,), MISSING where a message has none.

    Returns:
        A temperature for every task that has a label; others are left out.
    """
    return {
        task: _fit(np.asarray(values, np.float64)[labels[task] != MISSING], labels[task][labels[task] != MISSING])
        for task, values in logits.items()
        if task in labels and np.any(labels[task] != MISSING)
    }


def cross_validated_ece(logits: Logits, labels: Labels, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Expected calibration error before and after temperatures.

    Every message is judged with a temperature that was fitted on the other folds, so that the second figure
    holds for messages that the temperature has not seen.

    Args:
        logits: As `fit_temperatures` takes them.
        labels: As `fit_temperatures` takes them.
        seed: Seed of the folds.

    Returns:
        Task to ``ece_before``, ``ece_after``, ``n``, and the mean and the 95 % quantile of what `n` messages would
        show if these confidences were exactly right, ``ece_perfect`` and ``ece_perfect_95``.
    """
    found = {}
    for task in fit_temperatures(logits, labels):
        rows = labels[task] != MISSING
        values, truth = np.asarray(logits[task], np.float64)[rows], labels[task][rows]
        fold = np.random.default_rng(seed).permutation(len(truth)) % FOLDS
        after = np.empty_like(values)
        for number in range(min(FOLDS, len(truth))):
            others = values[fold != number], truth[fold != number]
            after[fold == number] = values[fold == number] / (_fit(*others) if len(others[1]) else 1.0)
        mean, quantile = perfect_ece(softmax(after, axis=1).max(1), seed=seed)
        found[task] = {
            "ece_before": _ece(values, truth),
            "ece_after": _ece(after, truth),
            "n": len(truth),
            "ece_perfect": mean,
            "ece_perfect_95": quantile,
        }
    return found


def perfect_ece(confidence: NDArray[np.floating[Any]], *, seed: int = 0) -> tuple[float, float]:
    """The calibration error that chance alone leaves, when every answer is right as often as its confidence says.

    The error adds up gaps without their signs, so on few messages it is never 0 (Bröcker and Smith 2007, "Increasing
    the reliability of reliability diagrams", doi:10.1175/WAF993.1).

    Args:
        confidence: Probability of the predicted label, (n,).
        seed: Seed of the draws.

    Returns:
        Mean and 95 % quantile over 1,000 drawn sets of outcomes.
    """
    rng = np.random.default_rng(seed)
    errors = calibration_errors(confidence, (rng.random(len(confidence)) < confidence for _ in range(_DRAWS)))
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def calibrate_folder(path: str | Path, examples: Examples) -> dict[str, Any]:
    """Fit temperatures to what a model folder serves and write them into its calibration.json.

    Counts of automation against error go, since they were made with other temperatures. The weights are never touched.

    Args:
        path: A model folder on this machine.
        examples: Labelled messages that the model was not trained on.

    Returns:
        Task to `temperature`, `before` (the temperature until now) and what `cross_validated_ece` found.

    Raises:
        ClassifierError: There is no such folder, or no message has a label.
    """
    classifier = Classifier.load(Path(path))
    old = classifier.folder.temperatures
    logits = served_logits(classifier, examples.texts)
    temperatures = fit_temperatures(logits, examples.labels)
    if not temperatures:
        raise ClassifierError(
            f"No message has a label of {', '.join(classifier.tasks.task_names)}; calibration needs labelled messages."
        )
    served = {task: values / old[task] for task, values in logits.items()}
    errors = cross_validated_ece(served, examples.labels)
    file = Path(path) / CALIBRATION
    kept = read_json(file) if file.is_file() else {}
    kept.pop("automation", None)  # counted under other temperatures
    write_json(file, {**kept, "temperatures": {**old, **temperatures}})
    return {task: {"temperature": value, "before": old[task], **errors[task]} for task, value in temperatures.items()}


def served_logits(classifier: Classifier, texts: list[str]) -> dict[str, NDArray[np.float64]]:
    """Logits of every task, (n, labels), up to a constant per message that no softmax notices."""
    return {
        task: classifier.folder.temperatures[task] * np.log(shares.clip(1e-12))
        for task, shares in score(classifier, texts).items()
    }


def _fit(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The temperature of least negative log-likelihood, by Brent's method over its logarithm.

    The likelihood has one peak over the inverse temperature, so no start value is needed.
    """
    found = minimize_scalar(lambda value: _loss(logits, truth, np.exp(value)), bounds=np.log(_RANGE), method="bounded")
    return float(np.exp(found.x))


def _loss(logits: NDArray[np.float64], truth: NDArray[np.int64], temperature: float) -> float:
    scaled = logits / temperature
    scaled = scaled - scaled.max(1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(truth)), truth]).mean())


def _ece(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    shares = softmax(logits, axis=1)
    return calibration_error(shares.max(1), shares.argmax(1) == truth)
