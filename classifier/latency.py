"""How long recent answers of this process took."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np


@dataclass(frozen=True)
class LatencySummary:
    """Latencies of the last answers, in milliseconds.

    Attributes:
        count: Answers that the figures rest on.
        median: Half of the answers took less.
        p95: 95 % of the answers took less.
    """

    count: int
    median: float
    p95: float


class LatencyWindow:
    """The total latencies of the last answers. Safe to share between threads.

    Args:
        size: Answers to keep; older ones are forgotten, so that the figures follow the present load.
    """

    def __init__(self, size: int = 1000) -> None:
        self._totals: deque[float] = deque(maxlen=size)
        self._lock = Lock()

    def add(self, latency_ms: Mapping[str, float]) -> LatencySummary:
        """Count one answer.

        Args:
            latency_ms: Milliseconds of each step, as in `Result.latency_ms`.

        Returns:
            The figures with this answer counted.
        """
        with self._lock:
            self._totals.append(latency_ms["total"])
            totals = list(self._totals)
        median, p95 = np.percentile(totals, (50, 95))
        return LatencySummary(len(totals), float(median), float(p95))
