"""The answer to one message, in the form that every interface shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .reasons import Route


@dataclass(frozen=True)
class Result:
    """The answer to one message. `to_dict` is the form in which every interface returns it.

    Attributes:
        labels: Task to its most probable label.
        probabilities: Task to label to calibrated probability.
        route: What the desk should do.
        tokens: Tokens read, the two special ones included.
        truncated: Whether the message was longer than the model reads.
        latency_ms: Milliseconds of each step: tokenize, model, route, total. In a batch, this message's share.
        model: ``id``, ``revision`` and ``backend`` of the model that answered.
    """

    labels: Mapping[str, str]
    probabilities: Mapping[str, Mapping[str, float]]
    route: Route
    tokens: int
    truncated: bool
    latency_ms: Mapping[str, float]
    model: Mapping[str, str | None]

    @property
    def confidence(self) -> dict[str, float]:
        """Task to the probability of its label."""
        return {task: self.probabilities[task][label] for task, label in self.labels.items()}

    @property
    def rounded(self) -> dict[str, dict[str, float]]:
        """The probabilities as every interface shows them."""
        return {
            task: {label: round(share, 4) for label, share in shares.items()}
            for task, shares in self.probabilities.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data: a key per task, then the details."""
        return {
            **self.labels,
            "confidence": {task: round(share, 4) for task, share in self.confidence.items()},
            "probabilities": self.rounded,
            "route": self.route.to_dict(),
            "tokens": self.tokens,
            "truncated": self.truncated,
            "latency_ms": {step: round(value, 3) for step, value in self.latency_ms.items()},
            "model": dict(self.model),
        }
