"""Exact binomial statistics: what some errors among some answers prove."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, log, log1p

import numpy as np

#: Most labelled messages that a refusal still names; more is as good as never.
ENOUGH = 1_000_000


def binomial_tail(k: int, n: int, p: float) -> float:
    """The probability of at most k successes in n trials of probability p, 0 < p < 1."""
    if k >= n:
        return 1.0
    i = np.arange(k)
    steps = np.log((n - i) / (i + 1)) + log(p) - log1p(-p)  # from each term's logarithm to the next one's
    return float(min(1.0, np.exp(n * log1p(-p) + np.concatenate(([0.0], np.cumsum(steps)))).sum()))


def upper_limit(k: int, n: int, confidence: float) -> float:
    """The one-sided upper limit of a rate of which k cases in n were seen (Clopper and Pearson 1934)."""
    low, high = k / n, 1.0
    while k < n and high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(k, n, middle) > 1 - confidence else (low, middle)
    return high


@lru_cache(maxsize=4096)
def messages_needed(rate: float, max_wrong: float, risk: float) -> int:
    """About how many automatic answers prove a budget when a share `rate` of them, below the budget, is wrong.

    Args:
        rate: Share of wrong answers that is seen.
        max_wrong: The budget.
        risk: Allowed probability of a false promise.

    Returns:
        A number that is enough; without errors the least one, else within 2 % of it. Over ENOUGH it is only a bound.
    """
    low = high = ceil(log(risk) / log1p(-max_wrong))
    while binomial_tail(floor(rate * high), high, max_wrong) > risk and high <= ENOUGH:
        low, high = high, 2 * high
    while high - low > max(1, 0.02 * low):
        middle = (low + high) // 2
        enough = binomial_tail(floor(rate * middle), middle, max_wrong) <= risk
        low, high = (low, middle) if enough else (middle, high)
    return high
