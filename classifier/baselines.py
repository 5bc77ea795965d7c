"""What a model has to beat: chance, the most frequent label, keyword rules, and classifiers without fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from .examples import MISSING, Examples
from .tasks import Task, TaskSet

#: Words per label of the keyword rules.
_KEYWORDS = 15

Probabilities = dict[str, NDArray[np.float64]]


def baselines(
    train: Examples, texts: Sequence[str], tasks: TaskSet, *, base: str | None = None, seed: int = 0
) -> dict[str, Probabilities]:
    """Probabilities of each baseline, by its name.

    Args:
        train: What the baselines learn from.
        texts: The messages to answer, (n,).
        tasks: The task set; tasks without a label in `train` are left out.
        base: Folder or Hub name of an encoder for the baseline on frozen vectors; left out if None.
        seed: Seed of the random baseline.

    Returns:
        Baseline to task to probabilities, (n, labels).
    """
    known = [task for task in tasks.tasks if np.any(train.labels[task.name] != MISSING)]
    rng = np.random.default_rng(seed)
    sizes = {task.name: len(task.labels) for task in known}
    found = {
        "random": {name: np.eye(size)[rng.integers(size, size=len(texts))] for name, size in sizes.items()},
        "majority": {
            task.name: np.tile(_shares(train.labels[task.name], len(task.labels)), (len(texts), 1)) for task in known
        },
        "keyword rules": {task.name: _keyword_rules(train, texts, task) for task in known},
        "TF-IDF + logistic regression": _fit_each(known, train, train.texts, texts, _tfidf),
    }
    if base is not None:
        vectors = encode_frozen(base, [*train.texts, *texts])
        learned, asked = vectors[: len(train)], vectors[len(train) :]
        found["frozen encoder + logistic regression"] = _fit_each(known, train, learned, asked, _on_vectors)
    return found


def encode_frozen(base: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of messages from a pretrained encoder as it is, mean over the tokens, (n, dim)."""
    from .batches import load_tokenizer
    from .logits import pooled_vectors
    from .model import MultiTaskDistilBert

    model = MultiTaskDistilBert.from_encoder(base, {})
    return pooled_vectors(model, load_tokenizer(base, "main", 128), texts, 128)


def _keyword_rules(train: Examples, texts: Sequence[str], task: Task) -> NDArray[np.float64]:
    """The label with most of its keywords in the message, the most frequent label where there are none.

    A label's keywords are the `_KEYWORDS` words that speak for it most clearly: highest log-odds in the
    training messages against the other labels (Monroe et al. 2008, "Fightin' Words"), without a prior beyond
    one count per word. A person who writes such a list by hand has the same kind of rule.
    """
    rows = np.flatnonzero(train.labels[task.name] != MISSING)
    truth = train.labels[task.name][rows]
    words = CountVectorizer(binary=True, min_df=2)
    try:
        counts = words.fit_transform([train.texts[row] for row in rows])
    except ValueError:  # no word occurs twice
        return np.tile(_shares(truth, len(task.labels)), (len(texts), 1))
    found = words.transform(texts)
    hits = np.zeros((len(texts), len(task.labels)))
    for label in np.unique(truth):
        odds = _log_odds(counts[truth == label]) - _log_odds(counts[truth != label])
        best = np.argsort(-odds)[:_KEYWORDS]
        hits[:, label] = np.asarray(found[:, best[odds[best] > 0]].sum(1)).ravel()
    # Ties, and messages without a keyword, go to the label that is most frequent.
    hits += 0.5 * _shares(truth, len(task.labels))
    return hits / hits.sum(1, keepdims=True)


def _log_odds(counts: Any) -> NDArray[np.float64]:
    """Log-odds that a message holds each word, (words,), with one count added to both sides."""
    holding = np.asarray(counts.sum(0)).ravel() + 1.0
    return np.log(holding / (counts.shape[0] + 2.0 - holding))


def _tfidf() -> Any:
    """Words and word pairs, and pieces of words against typos."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    return make_pipeline(FeatureUnion([("words", words), ("pieces", pieces)]), LogisticRegression(C=10, max_iter=300))


def _on_vectors() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))


def _fit_each(
    tasks: Sequence[Task], train: Examples, learned: Any, asked: Any, make: Callable[[], Any]
) -> Probabilities:
    return {task.name: _fit(task, train.labels, learned, asked, make) for task in tasks}


def _fit(
    task: Task, labels: Mapping[str, NDArray[np.int64]], learned: Any, asked: Any, make: Callable[[], Any]
) -> NDArray[np.float64]:
    rows = np.flatnonzero(labels[task.name] != MISSING)
    truth = labels[task.name][rows]
    found = np.zeros((len(asked), len(task.labels)))
    if len(np.unique(truth)) == 1:  # nothing to tell apart
        found[:, truth[0]] = 1
        return found
    own = learned[rows] if isinstance(learned, np.ndarray) else [learned[row] for row in rows]
    model = make().fit(own, truth)
    found[:, model.classes_] = model.predict_proba(asked)
    return found


def _shares(labels: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    counts = np.bincount(labels[labels != MISSING], minlength=size)
    return counts / counts.sum()
