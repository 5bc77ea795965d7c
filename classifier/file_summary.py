"""What stands in a scored file: its rows, counts over all of them, and those that are worth a look."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .batch import ROUTE_COLUMNS
from .scored_file import ScoredFile
from .tasks import TaskSet

#: Rows of the table on the page; the download has all.
SHOWN_ROWS = 200

#: Upper ends of the classes of message length, in tokens.
LENGTHS = (8, 16, 32, 64, 128)


@dataclass
class Summary:
    """Counts over the scored rows of a file.

    Attributes:
        rows: All rows.
        errors: Rows with an error; they count nowhere else.
        automatic: Rows that are answered without a person.
        decisions: Action of the route to rows.
        labels: Task to label to rows.
        pairs: Labels of the first and second task to rows.
        confidence: Task to rows by confidence, in tenths (0 to 9).
        lengths: Rows by class of length, one more than LENGTHS.
    """

    rows: int = 0
    errors: int = 0
    automatic: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    confidence: dict[str, Counter[int]] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class ScoredRow:
    """A row as the page shows it.

    Attributes:
        number: Its place in the file, from 1.
        text: The message.
        labels: Task to label; empty for a row with an error.
        confidence: Task to probability of its label.
        details: The other result columns by name.
    """

    number: int
    text: str
    labels: dict[str, str]
    confidence: dict[str, float]
    details: dict[str, Any]

    @property
    def doubt(self) -> float:
        """1 minus the confidence of the least sure task; 2 for a row with an error, so that it comes first."""
        return 1 - min(self.confidence.values()) if self.confidence else 2.0

    @property
    def probabilities(self) -> dict[str, dict[str, float]]:
        """Task to label to probability; only for rows without an error."""
        found: dict[str, dict[str, float]] = json.loads(self.details["probabilities"])
        return found


def scored_rows(scored: ScoredFile, tasks: TaskSet) -> Iterator[ScoredRow]:
    """The rows of a scored file, read as a stream."""
    names = [name for task in tasks.task_names for name in (task, f"{task}_confidence")]
    start = len(scored.columns) - len(names) - len(ROUTE_COLUMNS)
    text = scored.columns.index(scored.header["text_column"])
    for number, row in enumerate(scored.rows(), 1):
        found = row[start : start + len(names)]
        sure = found[0] is not None
        yield ScoredRow(
            number,
            "" if row[text] is None else str(row[text]),
            dict(zip(tasks.task_names, found[::2], strict=True)) if sure else {},
            dict(zip(tasks.task_names, found[1::2], strict=True)) if sure else {},
            dict(zip(ROUTE_COLUMNS, row[start + len(names) :], strict=True)),
        )


def summarise(scored: ScoredFile, tasks: TaskSet) -> Summary:
    """Count the rows of a scored file."""
    names = tasks.task_names
    summary = Summary(labels={task: Counter() for task in names}, confidence={task: Counter() for task in names})
    for row in scored_rows(scored, tasks):
        summary.rows += 1
        if not row.labels:
            summary.errors += 1
            continue
        summary.automatic += bool(row.details["automatic"])
        summary.decisions[row.details["route_action"]] += 1
        for task, label in row.labels.items():
            summary.labels[task][label] += 1
            summary.confidence[task][min(9, int(10 * row.confidence[task]))] += 1
        if len(names) > 1:
            summary.pairs[row.labels[names[0]], row.labels[names[1]]] += 1
        summary.lengths[sum(row.details["tokens"] > end for end in LENGTHS)] += 1
    return summary


def choose_rows(
    scored: ScoredFile, tasks: TaskSet, *, label: str = "", most_confidence: float = 1.0, by_doubt: bool = True
) -> list[ScoredRow]:
    """At most SHOWN_ROWS rows.

    Args:
        scored: The scored file.
        tasks: The model's tasks.
        label: Only rows with this answer, as ``"task: label"``; all if empty.
        most_confidence: Only rows whose least sure task is at most so sure, 0 to 1.
        by_doubt: The most doubtful first, else in the order of the file.
    """
    task, _, wanted = label.partition(": ")
    chosen = (
        row
        for row in scored_rows(scored, tasks)
        if (not label or row.labels.get(task) == wanted) and 1 - row.doubt <= most_confidence
    )
    return (
        heapq.nlargest(SHOWN_ROWS, chosen, key=lambda row: row.doubt) if by_doubt else list(islice(chosen, SHOWN_ROWS))
    )
