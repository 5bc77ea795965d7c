"""Delimited text: how a CSV file divides its cells, and its records, damage included."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from typing import Any, NamedTuple

from .errors import ClassifierError
from .rows import Row

DELIMITERS = ",;\t|^~\x1f\x01"

#: Stands for "no delimiter": a sign that separates units inside of records and in texts never occurs.
NO_DELIMITER = "\x1f"

#: Characters of one line; what is longer is damage.
MAX_LINE = 1 << 20

#: Characters of one quoted record; a longer one is damage. Each long one that is damaged halves this bound, down to
#: the second number: a file full of them is read in time that grows with its length, not with the square of it.
MAX_RECORD, LEAST_RECORD = MAX_LINE, 1 << 14

#: A quoted record of more lines than this is looked at for lines that are rows themselves.
LONG_RECORD_LINES = 500

#: The error of a record that does not end.
UNCLOSED = "A quotation mark is opened and never closed."

_END = r"(?:\r\n|\r(?!\n)|\n)"

#: A title, then a blank line, then lines without one between them.
_TITLE = re.compile(rf"[^\r\n]+{_END}[ \t]*{_END}(?=[^\r\n]+{_END}[^\r\n])")

#: The first line by which Excel is told the delimiter.
_TOLD = re.compile(rf'"?sep=([^\r\n])"?\1*{_END}', re.IGNORECASE)


class Dialect(NamedTuple):
    """How a file divides its cells.

    Attributes:
        delimiter: The sign between cells.
        quote: The sign around a cell.
        escape: The sign before a quotation mark inside of a cell, where it is not doubled.
        spaced: Whether a blank stands between the delimiter and a quoted cell.
    """

    delimiter: str
    quote: str = '"'
    escape: str | None = None
    spaced: bool = False

    def reader(self, lines: Any, strict: bool = False) -> Iterator[list[str]]:
        """A reader of the csv module."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            skipinitialspace=self.spaced,
            strict=strict,
        )


class _UnclosedQuote(Exception):
    """A record does not end."""


class _Lines:
    """Lines for the csv module, of which the unfinished ones of a record can be put back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._returned = lines, deque[str]()
        self._longest = MAX_RECORD
        self.start()

    def start(self) -> None:
        """Begin a record."""
        self.record: list[str] = []
        self._length, self.damaged = 0, False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._length >= self._longest:
            raise _UnclosedQuote
        line = self._returned.popleft() if self._returned else next(self._lines, None)
        if line is None:
            if self.record:  # csv asks for more: the file ends within quotes
                raise _UnclosedQuote
            raise StopIteration
        if "\0" in line:
            self.damaged, line = True, line.replace("\0", "")
        self.record.append(line)
        self._length += len(line)
        return line

    def put_back(self) -> str:
        """Give back all lines of the record but its first, which is returned."""
        first, *others = self.record
        self._returned.extendleft(reversed(others))
        if self._length > LEAST_RECORD:
            self._longest = max(self._longest // 2, LEAST_RECORD)
        return first


def records(text: Iterator[str], dialect: Dialect) -> Iterator[Row]:
    """Records of a CSV file with an error where one is damaged; blank lines are none."""
    # The limit is one of the whole process: raised here, never lowered.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD + MAX_LINE))
    lines = _Lines(text)
    reader = dialect.reader(lines)
    while True:
        lines.start()
        try:
            cells, error = next(reader), ""
            if len(lines.record) > 1:  # the next cell's opening quotation mark may have closed a forgotten one
                next(dialect.reader(lines.record, strict=True))
                if _holds_rows(lines.record, len(cells), dialect.delimiter):
                    raise _UnclosedQuote
        except StopIteration:
            return
        except (_UnclosedQuote, csv.Error):
            cells = lines.put_back().rstrip("\r\n").split(dialect.delimiter)
            error = UNCLOSED
        if lines.damaged:
            error = error or "The row holds NUL bytes."
        if cells or error:
            yield Row(cells, error)


def _holds_rows(record: list[str], count: int, delimiter: str) -> bool:
    """Whether the lines of a long record are rows as its first one is, swallowed by a quotation mark."""
    if len(record) <= LONG_RECORD_LINES or count < 2:
        return False

    def kind(line: str) -> tuple[int, str]:
        first, *others = line.split(delimiter)
        return len(others) + 1, re.sub(r"\d+", "0", first)

    own = count, kind(record[0])[1]
    return sum(kind(line) == own for line in record[1:-1]) > len(record) / 2


def shape(sample: str, dialect: Dialect, complete: bool) -> tuple[int, float]:
    """Most frequent number of cells of the first records, and the share of records that have it."""
    lines = list(StringIO(sample, newline=""))
    counts: Counter[int] = Counter()
    behind = False
    for row in islice(records(iter(lines if complete else lines[:-1]), dialect), 500):
        usual, times = counts.most_common(1)[0] if counts else (1, 0)
        # Behind a damaged record stand lines of its text: they count for nothing until a row is as wide as before.
        behind = row.error == UNCLOSED or (behind and len(row.cells) != usual)
        if not (behind and usual > 1 and times > 1):
            counts[len(row.cells)] += 1
    if not counts:
        return 1, 1.0
    cells, times = counts.most_common(1)[0]
    return cells, times / counts.total()


def find_dialect(sample: str, complete: bool = True) -> Dialect:
    """The dialect in which most records have the same number of cells, at least two.

    Args:
        sample: The beginning of the file.
        complete: Whether the sample ends with the file.

    Returns:
        The dialect; its delimiter is NO_DELIMITER for a file with one column.
    """
    title = _TITLE.match(sample)
    body = sample[title.end() :] if title else sample
    shapes = {
        dialect: shape(body, dialect, complete) for dialect in (quoting(body, s) for s in DELIMITERS if s in body)
    }
    fitting = {dialect: (share, cells) for dialect, (cells, share) in shapes.items() if cells > 1 and share >= 0.5}
    if fitting:
        best = max(fitting, key=lambda dialect: fitting[dialect])
        first = next((row.cells for row in records(StringIO(body, newline=""), best)), [])
        # One name above, and commas in many lines below: a list of messages rather than lines before a header.
        if fitting[best][0] >= 0.9 or not (title or len(first) == 1):
            return best
    return quoting(sample, NO_DELIMITER)


def quoting(sample: str, delimiter: str) -> Dialect:
    """The dialect of a delimiter: quotation marks, doubled within a cell, unless the sample shows another way."""
    sign = re.escape(delimiter)
    quote = "'" if _in_single_quotes(sample, sign) else '"'
    escaped = f"\\{quote}" in sample and re.search(
        # A cell that would end here by the usual rule, though no delimiter follows.
        rf"(?m)(?:^|{sign}) *{quote}[^{quote}]{{0,2000}}(?<=\\){quote}(?!{sign}|{quote}|\s*$)",
        sample,
    )
    # A quotation mark that is doubled here is one in a text.
    spaced = len(re.findall(rf"{sign} +{quote}(?!{quote})", sample)) > sample.count(delimiter + quote)
    return Dialect(delimiter, quote, "\\" if escaped else None, spaced and delimiter != " ")


def _in_single_quotes(sample: str, sign: str) -> bool:
    """Whether single quotes enclose cells: in half of the lines, and no quoted cell speaks against it."""
    opened = len(re.findall(rf"(?m)(?:^|{sign}) *'", sample))
    if opened < 2 or re.search(rf'(?m)(?:^|{sign}) *"', sample):
        return False
    enclosed = len(re.findall(rf"(?m)(?:^|{sign}) *'(?:\\'|''|[^'\r\n])*'(?= *(?:{sign}|\r|$))", sample))
    return enclosed >= 0.95 * opened and enclosed * 2 >= len(StringIO(sample, newline=None).readlines())


def given_delimiter(given: str) -> str:
    r"""The delimiter that a person asked for: one sign, or `\t` or `tab` as people type it.

    Raises:
        ClassifierError: It is something else.
    """
    delimiter = "\t" if given.lower() in ("\\t", "tab") else given
    if len(delimiter) != 1 or delimiter in '\r\n\0"':
        raise ClassifierError(f"{given!r} is no delimiter; give one sign, such as ',' or ';', or the word 'tab'.")
    return delimiter


def told_delimiter(sample: str) -> tuple[str | None, str]:
    """The delimiter that a first line `sep=;` tells, if there is one, and the sample below that line."""
    told = _TOLD.match(sample)
    return (told[1], sample[told.end() :]) if told else (None, sample)
