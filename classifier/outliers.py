"""Messages that belong to no known label: how far each is from the training messages, by several measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from .examples import MISSING

Floats = NDArray[np.floating[Any]]

#: From pooled vectors, (n, dim), and each task's logits, to a score that is higher for outliers, (n,).
Detector = Callable[[Floats, Mapping[str, Floats]], Floats]

#: Neighbours that the distance is the mean of.
NEIGHBOURS = 10


def detectors(vectors: Floats, labels: NDArray[np.int64], temperature: float = 1.0) -> dict[str, Detector]:
    """Fit the detectors to training messages.

    Args:
        vectors: Pooled vectors of the training messages, (n, dim).
        labels: Their labels, (n,), MISSING for messages that are outliers themselves.
        temperature: Of the first task's logits.

    Returns:
        Name to detector: `scope head` (the second task's last label), `max softmax` (Hendrycks & Gimpel 2017),
        `energy` (Liu et al. 2020), `Mahalanobis` (Lee et al. 2018) and `nearest neighbours` (Sun et al. 2022).
    """
    known = vectors[labels != MISSING].astype(np.float64)
    return {
        "scope head": lambda _, logits: _margin(logits["scope"]),
        "max softmax": lambda _, logits: -_log_softmax(logits["intent"] / temperature).max(1),
        "energy": lambda _, logits: -_log_sum(logits["intent"]),
        "Mahalanobis": _mahalanobis(known, labels[labels != MISSING]),
        "nearest neighbours": _neighbours(known),
    }


def outlier_scores(scores: Floats, outliers: NDArray[np.bool_]) -> dict[str, float]:
    """Area under the ROC curve, and the share of known messages taken for outliers where 95 % of these are found."""
    false_positives, recall, _ = roc_curve(outliers, scores)
    return {
        "auroc": float(roc_auc_score(outliers, scores)),
        "fpr95": float(false_positives[np.argmax(recall >= 0.95)]),
        "n": len(outliers),
    }


def _margin(logits: Floats) -> Floats:
    return logits[:, -1] - logits[:, 0]


def _log_sum(logits: Floats) -> Floats:
    top = logits.max(1)
    return top + np.log(np.exp(logits - top[:, None]).sum(1))


def _log_softmax(logits: Floats) -> Floats:
    return logits - _log_sum(logits)[:, None]


def _mahalanobis(vectors: Floats, labels: NDArray[np.int64]) -> Detector:
    """Squared distance to the nearest class mean under the covariance that the classes share."""
    means = np.stack([vectors[labels == label].mean(0) for label in np.unique(labels)])
    centred = vectors - means[np.searchsorted(np.unique(labels), labels)]
    covariance = centred.T @ centred / len(centred)
    # Shrunk a little, so that the inverse doesn't hang on directions that hardly vary.
    covariance += 0.01 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    centres = means @ whiten

    def distance(found: Floats, _: Mapping[str, Floats]) -> Floats:
        points = found @ whiten
        squares = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
        return squares.min(1)

    return distance


def _neighbours(vectors: Floats) -> Detector:
    """Mean cosine distance to the nearest training messages."""
    known = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def distance(found: Floats, _: Mapping[str, Floats]) -> Floats:
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        near = [np.partition(part @ known.T, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:] for part in np.array_split(unit, 16)]
        return 1 - np.concatenate(near).mean(1)

    return distance
