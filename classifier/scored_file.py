"""Scored rows on disk, which survive a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .batch import Engine, result_columns, score_lines
from .errors import ClassifierError
from .plain_json import dump
from .predict import Classifier
from .rows import Table, unique_names

#: Rows between two checkpoints; after each, the progress is reported and a stop is noticed.
STEP = 256


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
