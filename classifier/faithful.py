"""How far explanations can be trusted, and how long they take."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .changes import Run, edited
from .errors import ClassifierError
from .explain import Part, explain, most_likely, occlude
from .policy import Policy

#: Shares of the words that `faithfulness` leaves out, as in the ERASER benchmark.
LEFT_OUT = (0.1, 0.2, 0.5)

#: Draws of the bootstrap behind the intervals of `faithfulness`.
DRAWS = 2000

#: Words of the messages that `latency` explains.
WORDS = 20


def latency(texts: Sequence[str], run: Run, policy: Policy) -> dict[str, float]:
    """How long it takes to explain a message of WORDS words.

    Args:
        texts: Messages. The first WORDS words of those that have as many are explained.
        run: What runs the model.
        policy: What routes.

    Returns:
        ``words``, ``n``, and over the messages ``median_ms``, ``p95_ms`` and ``cpu_ms`` (median processor time of
        all cores, which other work on the machine hardly moves).

    Raises:
        ClassifierError: No message is long enough.
    """
    cut = [" ".join(text.split()[:WORDS]) for text in texts if len(text.split()) >= WORDS]
    if not cut:
        raise ClassifierError(f"No message has {WORDS} words; give a file with some that do.")
    explain(cut[0], run, policy)  # the first one starts threads
    wall, busy = [], []
    for text in cut:
        started, cpu = time.perf_counter(), time.process_time()
        explain(text, run, policy)
        wall.append(1000 * (time.perf_counter() - started))
        busy.append(1000 * (time.process_time() - cpu))
    return {
        "words": WORDS,
        "n": len(cut),
        "median_ms": round(statistics.median(wall), 1),
        "p95_ms": round(float(np.quantile(wall, 0.95)), 1),
        "cpu_ms": round(statistics.median(busy), 1),
    }


def faithfulness(texts: Sequence[str], run: Run, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """How much more the weightiest words matter to the model than as many random ones.

    The measure is comprehensiveness (DeYoung et al. 2020, ERASER): the mean fall of the label's probability when
    the first 10, 20 and 50 % of the words are left out, by weight and in random order. Weights that say nothing
    about the model fall like random ones.

    Args:
        texts: Messages of at least two words.
        run: What runs the model.
        seed: Of the random order and of the bootstrap.

    Returns:
        For each task: ``by_weight`` and ``random`` (mean fall, one value per share left out), ``gain`` (their mean
        difference), ``interval`` (95 %, bootstrap over messages) and ``n``.
    """
    rng = random.Random(seed)
    falls: dict[str, list[list[list[float]]]] = {}
    for text in texts:
        parts = occlude(text, run)
        (full,) = run([text])
        for task, label in most_likely(full).items():
            by_weight = sorted(parts, key=lambda part, task=task: -part.weights[task])  # type: ignore[misc]
            drops = [_first(order, share) for order in (by_weight, rng.sample(parts, len(parts))) for share in LEFT_OUT]
            found = run([edited(text, {(part.start, part.end): "" for part in drop}) for drop in drops])
            fall = [full[task][label] - less[task][label] for less in found]
            falls.setdefault(task, []).append([fall[: len(LEFT_OUT)], fall[len(LEFT_OUT) :]])
    return {task: _faithfulness(np.array(values), seed) for task, values in falls.items()}


def _faithfulness(falls: np.ndarray, seed: int) -> dict[str, Any]:
    """Summarise falls of shape (messages, by weight or random, shares left out)."""
    gains = (falls[:, 0] - falls[:, 1]).mean(1)
    draws = np.random.default_rng(seed).choice(gains, (DRAWS, len(gains))).mean(1)
    by_weight, at_random = falls.mean(0).round(4).tolist()
    return {
        "by_weight": by_weight,
        "random": at_random,
        "gain": round(float(gains.mean()), 4),
        "interval": np.quantile(draws, (0.025, 0.975)).round(4).tolist(),
        "n": len(gains),
    }


def _first(parts: Sequence[Part], share: float) -> Sequence[Part]:
    return parts[: max(1, round(share * len(parts)))]
