"""Honest splits: stratified, seeded, and near-twins on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import ClassifierError
from .examples import MISSING, Examples
from .tasks import TaskSet


def twin_groups(texts: Sequence[str], *, similarity: float = 0.4, common: int = 300) -> NDArray[np.int64]:
    """Find messages that are variants of each other.

    Two messages are twins when the cosine of their TF-IDF vectors over words and word pairs reaches
    `similarity`; twins of twins share a group. Words in more than `common` messages tell nothing apart and
    are left out, which also keeps the cost linear in the number of messages.

    Args:
        texts: The messages.
        similarity: 0 to 1.
        common: Most messages that a word may occur in to count.

    Returns:
        The number of each message's group, (n,).
    """
    from scipy.sparse import vstack
    from scipy.sparse.csgraph import connected_components
    from sklearn.feature_extraction.text import TfidfVectorizer

    features = TfidfVectorizer(ngram_range=(1, 2), max_df=common, sublinear_tf=True, dtype=np.float32)
    try:
        vectors = features.fit_transform(texts)
    except ValueError:  # no message has a word
        return np.arange(len(texts))
    links = []
    for start in range(0, len(texts), 1024):
        block = vectors[start : start + 1024] @ vectors.T
        block.data[block.data < similarity] = 0
        block.eliminate_zeros()
        links.append(block)
    return connected_components(vstack(links), directed=False)[1].astype(np.int64)


def split(examples: Examples, tasks: TaskSet, share: float, *, seed: int) -> tuple[Examples, Examples]:
    """Divide examples into train and validation.

    Stratified by the labels of the set's tasks together, groups of near-twins kept on one side. Rows without
    any label of the set (auxiliary data) all go to train.

    Args:
        examples: The rows; their labels may hold further tasks.
        tasks: The task set.
        share: About this share of the rows becomes validation, 0 to 0.5.
        seed: Another seed, another split.

    Raises:
        ClassifierError: One side would be empty.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels = np.stack([examples.labels[name] for name in tasks.task_names], axis=1)
    own = np.flatnonzero((labels != MISSING).any(axis=1))
    strata = np.unique(labels[own], axis=0, return_inverse=True)[1].ravel()
    groups = twin_groups([examples.texts[row] for row in own])
    folds = round(1 / share)
    if len(np.unique(groups)) < folds:
        raise ClassifierError(
            f"{len(own)} labelled messages in {len(np.unique(groups))} groups of near-twins are too few to hold "
            f"out {share:.0%}; give more data, or a validation file with --validation."
        )
    # A stratum smaller than the number of folds is only unevenly spread; sklearn warns about each.
    counts = np.bincount(strata)
    strata = np.where(counts[strata] < folds, -1, strata)
    folder = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    train, validation = next(iter(folder.split(own, strata, groups)))
    auxiliary = np.setdiff1d(np.arange(len(examples)), own)
    return examples.take(np.sort(np.concatenate([own[train], auxiliary]))), examples.take(own[validation])
