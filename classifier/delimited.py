"""Delimited text: records of a CSV file of any quoting, damage included, and its delimiter."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from .rows import Row

DELIMITERS = ",;\t|^~\x1f\x01"

#: Stands for "no delimiter": a sign that separates units inside of records and in texts never occurs.
NO_DELIMITER = "\x1f"

#: Lines of one quoted record; a longer one is damage.
MAX_RECORD_LINES = 500


class _UnclosedQuote(Exception):
    """A record does not end."""


class _Lines:
    """Lines for the csv module, of which the unfinished ones of a record can be put back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self.damaged = lines, False
        self.record: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.record) >= MAX_RECORD_LINES:
            raise _UnclosedQuote
        line = next(self._lines, None)
        if line is None:
            if self.record:  # csv asks for more: the file ends within quotes
                raise _UnclosedQuote
            raise StopIteration
        if "\0" in line:
            self.damaged, line = True, line.replace("\0", "")
        self.record.append(line)
        return line

    def put_back(self) -> str:
        """Give back all lines of the record but its first, which is returned."""
        first, *others = self.record
        self._lines = chain(others, self._lines)
        return first


def records(text: Iterator[str], delimiter: str) -> Iterator[Row]:
    """Records of a CSV file with an error where one is damaged; blank lines are none."""
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.record, lines.damaged = [], False
        try:
            cells, error = next(reader), ""
            if len(lines.record) > 1:  # the next cell's opening quotation mark may have closed a forgotten one
                next(csv.reader(lines.record, delimiter=delimiter, strict=True))
        except StopIteration:
            return
        except (_UnclosedQuote, csv.Error):
            cells = lines.put_back().rstrip("\r\n").split(delimiter)
            error = "A quotation mark is opened and never closed."
        if lines.damaged:
            error = error or "The row holds NUL bytes."
        if cells or error:
            yield Row(cells, error)


def shape(sample: str, delimiter: str, complete: bool) -> tuple[int, float]:
    """Most frequent number of cells of the first records, and the share of records that have it."""
    lines = sample.splitlines(keepends=True)
    counts = Counter(len(row.cells) for row in islice(records(iter(lines if complete else lines[:-1]), delimiter), 500))
    if not counts:
        return 1, 1.0
    cells, times = counts.most_common(1)[0]
    return cells, times / counts.total()


def find_delimiter(sample: str, complete: bool = True) -> str:
    """The delimiter under which most records have the same number of cells, at least two.

    Args:
        sample: The beginning of the file.
        complete: Whether the sample ends with the file.

    Returns:
        The delimiter, NO_DELIMITER for a file with one column.
    """
    shapes = {sign: shape(sample, sign, complete) for sign in DELIMITERS if sign in sample}
    fitting = {sign: (share, cells) for sign, (cells, share) in shapes.items() if cells > 1 and share >= 0.5}
    if not fitting:
        return NO_DELIMITER
    best = max(fitting, key=lambda sign: fitting[sign])
    first = next((row.cells for row in records(iter(sample.splitlines()), best)), [])
    # One name above, and commas in many lines below: a list of messages rather than lines before a header.
    return NO_DELIMITER if len(first) == 1 and fitting[best][0] < 0.9 else best
