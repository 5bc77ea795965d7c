"""Score whole tables: rows stream through the classifier into a scored file that survives a kill."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ClassifierError
from .plain_json import dump
from .predict import Classifier
from .result import Result
from .rows import Row, Table, unique_names

#: Rows between two checkpoints; after each, the progress is reported and a stop is noticed.
STEP = 256

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


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        rows: Rows done, those of earlier runs included.
        errors: Rows with an error among those of this run.
        rows_per_second: Of this run.
        share: Share of the input read, 0 to 1, as of the last row; None for pipes.
        seconds_left: Estimate; None while there is nothing to estimate it from.
    """

    rows: int
    errors: int
    rows_per_second: float
    share: float | None
    seconds_left: float | None


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


class ScoredFile:
    """Scored rows on disk: a line that says what was scored how, then one JSON array a row, in input order.

    Rows are appended in order, so the number of whole lines is the checkpoint: a run that was killed goes on
    behind the last whole line, without losing a row or scoring one twice.

    Args:
        path: The file, which `create` made.

    Attributes:
        columns: Names of the columns.

    Raises:
        ClassifierError: It is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self.path.open(encoding="utf-8") as lines:
            try:
                self.header = json.loads(lines.readline())
                self.columns: list[str] = self.header["columns"]
            except (ValueError, KeyError, TypeError):
                raise ClassifierError(f"{str(path)!r} holds no scored rows; delete it and start again.") from None

    @classmethod
    def create(cls, path: str | Path, table: Table, classifier: Classifier, *, resume: bool = False) -> ScoredFile:
        """Start a file, or take up one that the same table, read the same way, and model began.

        Raises:
            ClassifierError: Another table or model began it, or it cannot be written.
        """
        path = Path(path)
        header = json.loads(
            dump(
                {
                    "columns": unique_names([*table.columns, *result_columns(classifier)]),
                    "table": table.fingerprint,
                    "text_column": table.text_column,
                    "encoding": table.encoding,
                    "delimiter": table.delimiter,
                    "model": {**classifier.model, "files": classifier.fingerprint},
                    "policy": classifier.policy.to_dict(),
                }
            )
        )
        try:
            if resume and path.is_file() and path.stat().st_size:
                scored = cls(path)
                for key, value in header.items():
                    if scored.header.get(key) != value:
                        raise ClassifierError(
                            f"{str(path)!r} was begun with another {key} ({scored.header.get(key)!r:.80} instead of "
                            f"{value!r:.80}); delete it, or run without --resume."
                        )
                return scored
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # it holds what customers wrote
            path.write_text(json.dumps(header) + "\n", encoding="utf-8")
        except OSError as error:
            raise _unwritable(path, error) from None
        return cls(path)

    def rows(self) -> Iterator[list[Any]]:
        """The scored rows, each as long as `columns`."""
        with self.path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)

    def score(
        self, table: Table, classifier: Classifier, engine: Engine = score_lines
    ) -> Generator[Progress, None, None]:
        """Score the rows that are missing; stop by closing this iterator: what is done is kept.

        Args:
            table: The table that the file was made for, from its start.
            classifier: The model.
            engine: What scores.

        Yields:
            The progress, after every STEP rows and at the end.

        Raises:
            ClassifierError: The table breaks off, or the disk is full.
        """
        with self.path.open("r+b") as file:
            done = first = _cut_to_whole_lines(file) - 1
            errors, started = 0, time.perf_counter()
            lines = engine(classifier, table, done)
            while step := list(islice(lines, STEP)):
                try:
                    file.write(b"\n".join(line.data for line in step) + b"\n")
                    file.flush()
                except OSError as error:
                    raise _unwritable(self.path, error) from None
                done += len(step)
                errors += sum(line.failed for line in step)
                rate, share = (done - first) / (time.perf_counter() - started), step[-1].share
                left = done * (1 - share) / share / rate if share else None
                yield Progress(done, errors, rate, share, left)


def _unwritable(path: Path, error: OSError) -> ClassifierError:
    return ClassifierError(f"{str(path)!r} cannot be written: {error.strerror or error}. Check the path and the disk.")


def _cut_to_whole_lines(file: Any) -> int:
    """Cut a half-written last line off, go to the end; the number of lines."""
    lines = end = 0
    for line in file:
        if line.endswith(b"\n"):
            lines, end = lines + 1, end + len(line)
    file.seek(end)
    file.truncate()
    return lines
