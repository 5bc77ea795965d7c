"""One classifier behind the page: its answers counted, and its failures put into words for visitors."""

from __future__ import annotations

import logging
from typing import Any

from . import page
from .errors import ClassifierError
from .explain import Explanation, explain
from .explain_view import explanation
from .latency import LatencySummary, LatencyWindow
from .predict import Classifier
from .result import Result

log = logging.getLogger(__name__)


class Service:
    """One classifier behind the page, with the latencies of its answers.

    Args:
        classifier: What answers.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.latencies = LatencyWindow()

    def answer(self, message: str) -> tuple[Result, LatencySummary]:
        """Answer one message and count its latency.

        Raises:
            ClassifierError: There is nothing to read in it.
        """
        result = self.classifier.classify(message)
        return result, self.latencies.add(result.latency_ms)

    def explain(self, message: str) -> tuple[Explanation, str]:
        """Explain the answer to one message; also the part of it that was read.

        Raises:
            ClassifierError: There is nothing to read in it.
        """
        read = self.classifier.part_read(message)
        rest = message[len(read) :]
        return explain(read, self.classifier.probabilities, self.classifier.policy, rest), read

    def show_explanation(self, message: str) -> str:
        """The explanation of one message as HTML, whatever happens."""
        try:
            found, read = self.explain(message)
            return explanation(found, self.classifier.tasks, self.classifier.policy, read)
        except ClassifierError as error:
            return page.banner_hint(str(error))
        except Exception:
            log.exception("A message could not be explained.")
            return page.banner_failed()

    def show(self, message: str) -> tuple[str, str, dict[str, Any] | None]:
        """The banner, the cards and the JSON of one message, whatever happens."""
        tasks = self.classifier.tasks
        if not message.strip():
            return page.banner_hint("Write a few words first, or pick an example."), page.cards_waiting(tasks), None
        try:
            result, latency = self.answer(message)
            part_read = self.classifier.part_read(message)
            slips = self.classifier.slips(part_read)
        except ClassifierError as error:
            return page.banner_hint(str(error)), page.cards_waiting(tasks), None
        except Exception:
            log.exception("A message could not be answered.")
            return page.banner_failed(), page.cards_waiting(tasks), None
        banner = page.banner(result, tasks, self.classifier.policy, text=message, part_read=part_read, slips=slips)
        return banner, page.cards(result, tasks, latency), result.to_dict()
