"""How good a model is: scores per task with bootstrap intervals, calibration, and what its mistakes cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from .errors import ClassifierError
from .examples import MISSING
from .policy import Policy
from .predict import Classifier
from .tasks import Task, TaskSet

Floats = NDArray[np.float64]
Probabilities = Mapping[str, NDArray[np.floating[Any]]]
Labels = Mapping[str, NDArray[np.int64]]

#: Resamples of a bootstrap interval.
RESAMPLES = 1000

#: Bins of confidence that the calibration error is taken over.
BINS = 15

#: Beside the tasks, the key of what concerns all of them.
OVERALL = "overall"

_SCORES = ("accuracy", "macro_f1", "weighted_f1", "ece", "roc_auc")
_CLASS_SCORES = ("precision", "recall", "f1")


def evaluate(
    probabilities: Probabilities,
    labels: Labels,
    tasks: TaskSet,
    *,
    seed: int = 0,
    policy: Policy | None = None,
) -> dict[str, Any]:
    """Score probabilities against labels.

    Args:
        probabilities: Task to (n, labels). Tasks without probabilities or labels are left out.
        labels: Task to label indices, (n,), MISSING where a message has none; such are left out per task.
        tasks: The task set.
        seed: Seed of the bootstrap.
        policy: Declares which task recommends the action and what a wrong one costs; the desk's own if None.

    Returns:
        Plain data. Per task `accuracy`, `macro_f1`, `weighted_f1`, `ece`, `roc_auc` (None when a label never
        occurs), `n`, `interval` (95 %, of the accuracy), `intervals` of each score, `labels` (per class
        `precision`, `recall`, `f1`, `n` and the `intervals` of the first three), `worst` (the class of least F1)
        and `confusion` (rows are the truth).
        Under ``"overall"``: `all_right` (`share`, `n`, `interval` over the messages that have every label, None
        when there are none) and `cost` (`mean` per message, `interval`, `n`, `wrong` decisions by action taken,
        `costs`; None for desks without costs).

    Raises:
        ClassifierError: No message has a label.
    """
    known = [task for task in tasks.tasks if task.name in probabilities and np.any(labels[task.name] != MISSING)]
    if not known:
        raise ClassifierError(
            f"No message has a label of {', '.join(tasks.task_names)}; give data with at least one of these columns."
        )
    rng = np.random.default_rng(seed)
    right = [np.asarray(probabilities[task.name]).argmax(1) == labels[task.name] for task in known]
    complete = np.all([labels[task.name] != MISSING for task in known], axis=0)
    return {
        **{task.name: _score_task(task, probabilities[task.name], labels[task.name], rng) for task in known},
        OVERALL: {
            "all_right": _all_right(np.all(right, axis=0)[complete], rng),
            "cost": _cost(probabilities, labels, tasks, policy or Policy.for_tasks(tasks), rng),
        },
    }


def score(classifier: Classifier, texts: Sequence[str]) -> dict[str, Floats]:
    """Calibrated probabilities of every task, (n, labels), as the serving classifier gives them."""
    found = classifier.probabilities(texts)
    return {
        task.name: np.array([list(shares[task.name].values()) for shares in found]) for task in classifier.tasks.tasks
    }


def _score_task(task: Task, probabilities: NDArray[Any], labels: NDArray[np.int64], rng: np.random.Generator) -> Any:
    rows = labels != MISSING
    shares, truth = np.asarray(probabilities, np.float64)[rows], labels[rows]
    size = len(task.labels)
    predicted, confidence = shares.argmax(1), shares.max(1)
    support = np.bincount(truth, minlength=size)
    right = (predicted == truth).astype(float)
    actual, guessed = np.eye(size)[truth], np.eye(size)[predicted]
    bins = _bin_gaps(confidence, right)
    ranks = [_ranked(shares[:, label], truth == label) for label in range(size)] if np.all(support) else []

    def scores(weights: Floats) -> Floats:
        counts = weights @ (actual * guessed), weights @ actual, weights @ guessed
        macro, weighted = _f1(*counts)
        auc = np.mean([_roc_auc(weights, *ranked) for ranked in ranks], axis=0) if ranks else np.nan
        total = weights.sum(1)
        columns = (weights @ right / total, macro, weighted, np.abs(weights @ bins).sum(1) / total, auc)
        return np.column_stack([*np.broadcast_arrays(*columns), *_per_class(*counts)])

    values, bounds = bootstrap(scores, len(truth), rng)
    classes = _classes(values[len(_SCORES) :], bounds[len(_SCORES) :], support, task)
    found = {name: float(value) for name, value in zip(_SCORES, values, strict=False) if not np.isnan(value)}
    return {
        **dict.fromkeys(_SCORES),
        **found,
        "n": len(truth),
        "interval": bounds[0],
        "intervals": {name: bound for name, bound in zip(_SCORES, bounds, strict=False) if name in found},
        "labels": classes,
        "worst": min((name for name in classes if classes[name]["n"]), key=lambda name: classes[name]["f1"]),
        "confusion": confusion_matrix(truth, predicted, labels=range(size)).tolist(),
    }


def _classes(values: Floats, bounds: list[list[float]], support: NDArray[np.int64], task: Task) -> dict[str, Any]:
    """Precision, recall and F1 of each class with their intervals; undefined ones are 0 without an interval."""
    table = np.nan_to_num(values).reshape(3, -1)
    size = len(task.labels)
    return {
        name: {
            **{score: float(table[row, place]) for row, score in enumerate(_CLASS_SCORES)},
            "n": int(support[place]),
            "intervals": {score: bounds[row * size + place] for row, score in enumerate(_CLASS_SCORES)},
        }
        for place, name in enumerate(task.label_names)
    }


def bootstrap(
    scores: Callable[[Floats], Floats], size: int, rng: np.random.Generator
) -> tuple[Floats, list[list[float]]]:
    """Scores of all rows, and the 95 % percentile interval of each over resampled rows (Efron 1979).

    Args:
        scores: From how often each row was drawn, (resamples, n), to the scores, (resamples, k).
        size: Number of rows, n.
        rng: Draws the resamples.

    Returns:
        The scores, (k,), and an interval [low, high] of each; empty where a score is never defined.
    """
    drawn = np.concatenate([scores(weights) for weights in _resamples(size, rng)])
    # Resamples in which a score is not defined say nothing about it.
    bounds = [
        np.percentile(column[~np.isnan(column)], [2.5, 97.5]).tolist() if not np.isnan(column).all() else []
        for column in drawn.T
    ]
    return scores(np.ones((1, size)))[0], bounds


def _resamples(size: int, rng: np.random.Generator) -> Iterator[Floats]:
    """RESAMPLES rows of counts that sum to `size`, in blocks of bounded memory."""
    block = max(1, min(RESAMPLES, 2**22 // size))
    for start in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - start)
        drawn = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(float)


def calibration_error(confidence: NDArray[Any], right: NDArray[Any], bins: int = BINS) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over bins of equal width (Guo et al. 2017).

    Args:
        confidence: Probability of the predicted label, (n,).
        right: Whether it is the true one, (n,).
        bins: Number of bins.
    """
    return calibration_errors(confidence, [right], bins)[0]


def calibration_errors(confidence: NDArray[Any], outcomes: Iterable[NDArray[Any]], bins: int = BINS) -> list[float]:
    """`calibration_error` of the same confidences for each of many sets of outcomes, (n,)."""
    place = _bins(confidence, bins)
    expected = np.bincount(place, confidence, bins)
    return [float(np.abs(expected - np.bincount(place, right, bins)).sum() / len(confidence)) for right in outcomes]


def _bins(confidence: NDArray[Any], bins: int) -> NDArray[np.int64]:
    return np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)


def _bin_gaps(confidence: NDArray[Any], right: NDArray[Any], bins: int = BINS) -> Floats:
    """Each message's confidence minus its success in the column of its bin, (n, bins)."""
    return np.eye(bins)[_bins(confidence, bins)] * (np.asarray(confidence, float) - right)[:, None]


def business_cost(
    predicted: NDArray[np.int64],
    truth: NDArray[np.int64],
    names: Sequence[str],
    costs: Mapping[str, Mapping[str, float]],
) -> Floats:
    """Cost of each decision, (n,).

    Args:
        predicted: Indices of the actions taken, (n,).
        truth: Indices of the right ones, (n,).
        names: Names of the actions.
        costs: Action taken to right action to cost; a wrong action that has no entry costs 1.
    """
    table = np.array([[costs.get(taken, {}).get(right, float(taken != right)) for right in names] for taken in names])
    return table[predicted, truth]


def _cost(
    probabilities: Probabilities, labels: Labels, tasks: TaskSet, policy: Policy, rng: np.random.Generator
) -> dict[str, Any] | None:
    """What following the most probable action would cost, and how often each action was taken wrongly."""
    name = policy.action_task
    if name is None or not policy.costs or name not in probabilities or not np.any(labels[name] != MISSING):
        return None
    rows = labels[name] != MISSING
    predicted, truth = np.asarray(probabilities[name])[rows].argmax(1), labels[name][rows]
    names = tasks.task(name).label_names
    mean, interval = _mean(business_cost(predicted, truth, names, policy.costs), rng)
    wrong = np.bincount(predicted[predicted != truth], minlength=len(names))
    return {
        "mean": mean,
        "interval": interval,
        "n": len(truth),
        "wrong": dict(zip(names, wrong.tolist(), strict=True)),
        "costs": {taken: dict(row) for taken, row in policy.costs.items()},
    }


def _all_right(right: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, Any] | None:
    if not len(right):
        return None
    share, interval = _mean(right.astype(float), rng)
    return {"share": share, "n": len(right), "interval": interval}


def _mean(values: Floats, rng: np.random.Generator) -> tuple[float, list[float]]:
    means, bounds = bootstrap(lambda weights: (weights @ values / len(values))[:, None], len(values), rng)
    return float(means[0]), bounds[0]


def _per_class(hits: Floats, actual: Floats, guessed: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1, (resamples, classes) each, of counts; NaN where there is nothing to divide by."""

    def share(part: Floats, whole: Floats) -> Floats:
        return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)

    return share(hits, guessed), share(hits, actual), share(2 * hits, actual + guessed)


def _f1(hits: Floats, actual: Floats, guessed: Floats) -> tuple[Floats, Floats]:
    """Macro and weighted F1, (resamples,), of counts per class, (resamples, classes).

    As in scikit-learn, a class that neither occurs nor is predicted counts for nothing.
    """
    both = actual + guessed
    f1 = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
    return f1.sum(1) / (both > 0).sum(1), (f1 * actual).sum(1) / actual.sum(1)


def _ranked(shares: Floats, positive: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[Any]]:
    """Rows in order of their score, which of them are positive, and where each group of equal scores starts."""
    order = np.argsort(shares)
    starts = np.flatnonzero(np.diff(shares[order], prepend=-np.inf))
    return order, positive[order], starts


def _roc_auc(weights: Floats, order: NDArray[Any], positive: NDArray[np.bool_], starts: NDArray[Any]) -> Floats:
    """Area under the ROC curve for each row of weights: how often a positive outranks a negative, ties half."""
    sorted_weights = weights[:, order]
    positives = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    negatives = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
    below = negatives.cumsum(1) - negatives / 2
    total = positives.sum(1) * negatives.sum(1)
    return np.divide((positives * below).sum(1), total, out=np.full(len(weights), np.nan), where=total > 0)
