"""Score whole tables: rows stream through the classifier and come out with its answers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from .errors import ClassifierError
from .plain_json import dump
from .predict import Classifier
from .result import Result
from .rows import Row, Table

#: What scoring adds to a row behind the labels and confidences of its tasks.
ROUTE_COLUMNS = (
    "route_action",
    "queue",
    "priority",
    "automatic",
    "reasons",
    "tokens",
    "truncated",
    "probabilities",
    "error",
)


class Line(NamedTuple):
    """A scored row as `ScoredFile` keeps it.

    Attributes:
        data: Its cells as JSON, without the line's end.
        failed: Whether it has an error instead of results.
        share: Share of the input behind which it stands, 0 to 1; None for pipes.
    """

    data: bytes
    failed: bool
    share: float | None


#: Scores the rows of a table behind the first so many: what `score_lines` does, on this machine or elsewhere.
Engine = Callable[[Classifier, Table, int], Iterator[Line]]


def result_columns(classifier: Classifier) -> list[str]:
    """Names of the columns that scoring adds: each task's label and confidence, the route, and the error.

    ``probabilities`` holds all of them as JSON, so that `route` can decide again under another policy.
    """
    names = [name for task in classifier.tasks.task_names for name in (task, f"{task}_confidence")]
    return [*names, *ROUTE_COLUMNS]


def result_cells(result: Result) -> list[Any]:
    """What scoring adds to one row, in the order of `result_columns`."""
    route, shares = result.route, result.rounded
    cells: list[Any] = []
    for task, label in result.labels.items():
        cells += (label, shares[task][label])
    codes = ", ".join([reason.code for reason in route.reasons])
    return [
        *cells,
        route.action,
        route.queue,
        route.priority,
        route.automatic,
        codes,
        result.tokens,
        result.truncated,
        json.dumps(shares, ensure_ascii=False, separators=(",", ":")),
        "",
    ]


def score_rows(classifier: Classifier, rows: Iterable[Row], text: int) -> Iterator[list[Any]]:
    """Classify rows; one that cannot be is kept, with its error and empty results.

    Args:
        classifier: The model.
        rows: The rows of a table.
        text: Position of the text column.

    Yields:
        For each row, in order: its cells, then those of `result_columns`.
    """
    empty = [None] * (len(result_columns(classifier)) - 1)
    waiting: deque[Row] = deque()

    def texts() -> Iterator[str]:
        for row in rows:
            waiting.append(row)
            yield "" if row.error else row.cells[text]

    for result in classifier.classify_many(texts(), return_errors=True):
        row = waiting.popleft()
        if isinstance(result, Result):
            yield [*row.cells, *result_cells(result)]
        else:
            yield [*row.cells, *empty, row.error or str(result)]


def score_lines(classifier: Classifier, table: Table, done: int = 0) -> Iterator[Line]:
    """Score the rows of a table, in order, on this machine.

    Args:
        classifier: The model.
        table: The table, from its start.
        done: Rows to skip, because they were scored before.

    Raises:
        ClassifierError: The table has fewer rows than that.
    """
    rows = iter(table)
    if sum(1 for _ in islice(rows, done)) < done:
        raise ClassifierError(f"{table.name!r} has fewer rows than were scored; run without --resume.")
    shares: deque[float | None] = deque()  # rows are read two windows before they are scored

    def read() -> Iterator[Row]:
        for row in rows:
            shares.append(table.share_read())
            yield row

    for row in score_rows(classifier, read(), table.columns.index(table.text_column)):
        yield Line(dump(row), bool(row[-1]), shares.popleft())
