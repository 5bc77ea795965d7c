"""Readers of each table format: columns, and rows that carry their own errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TextIO

from .delimited import (
    MAX_LINE,
    NO_DELIMITER,
    Dialect,
    find_dialect,
    given_delimiter,
    quoting,
    records,
    shape,
    told_delimiter,
)
from .errors import ClassifierError
from .headers import is_header, is_title
from .parquet import read_parquet
from .rows import SAMPLE_ROWS, Content, Row
from .sheets import find_sheet
from .sources import Source


def _bounded(text: Any, name: str) -> Iterator[str]:
    while line := text.readline(MAX_LINE):
        if len(line) >= MAX_LINE:
            raise ClassifierError(f"{name!r} has a line of over {MAX_LINE:,} characters; it is no table of messages.")
        yield line


def _fitted(rows: Iterator[Row], columns: int) -> Iterator[Row]:
    """Rows with as many cells as there are columns; the others get an error, unless only empty cells are too many."""
    for row in rows:
        cells, error = row
        count = len(cells)
        if count != columns:
            if not error and (count < columns or any(cell not in (None, "") for cell in cells[columns:])):
                error = f"The row has {count} cells, the header has {columns}."
                if count > columns:
                    error += f" Left out: {' | '.join(map(str, cells[columns:]))[:200]}"
            row = Row((cells + [None] * columns)[:columns], error)
        yield row


def _with_header(rows: Iterator[Row], width: int) -> tuple[Sequence[Any], Iterator[Row], tuple[str, ...]]:
    """Names of the columns, the rows below, and notes; skips lines before the header."""
    first = list(islice(rows, 50))
    for number, (cells, _) in enumerate(first[:20]):
        below = first[number + 1 :]
        if is_header(cells, below, width):
            named = max((at for at, cell in enumerate(cells, 1) if cell not in (None, "")), default=0)
            names = [*cells, *[None] * (width - len(cells))][: max(width, named)]
            return names, chain(below, rows), _skipped(number)
        if len(cells) >= width and not is_title(cells, below):
            break
    start = next((number for number, row in enumerate(first[:20]) if len(row.cells) >= width), 0)
    columns = max(width, len(first[start].cells)) if first else width
    notes = (*_skipped(start), "No header found: columns are numbered.")
    return [None] * columns, chain(first[start:], rows), notes


def _skipped(lines: int) -> tuple[str, ...]:
    return (f"Skipped {lines} line{'s' if lines > 1 else ''} before the header.",) if lines else ()


def read_csv(source: Source, encoding: str | None, delimiter: str | None = None) -> Content:
    """CSV of any delimiter, quoting and encoding."""
    encoding = source.encoding(encoding)
    sample, complete = source.sample[: 1 << 20].decode(encoding, "replace"), len(source.sample) < 1 << 20
    lines = _bounded(source.text(encoding), source.name)
    told, below = told_delimiter(sample)
    if told:
        next(lines)
    chosen = given_delimiter(delimiter) if delimiter is not None else told
    dialect = quoting(below, chosen) if chosen else find_dialect(below, complete)
    width, _ = shape(below, dialect, complete)
    columns, rows, notes = _with_header(records(lines, dialect), width)
    shown = None if dialect.delimiter == NO_DELIMITER else dialect.delimiter
    return Content(columns, _fitted(rows, len(columns)), encoding, shown, notes)


def read_text(source: Source, encoding: str | None, delimiter: str | None = None) -> Content:
    """Plain text: a message a line, unless a delimiter is given, or Excel has saved a table as "Unicode text"."""
    encoding = source.encoding(encoding)
    if delimiter is None and encoding.startswith("utf-16"):
        sample = source.sample[: 1 << 20].decode(encoding, "replace")
        cells, share = shape(sample, Dialect("\t"), len(source.sample) < 1 << 20)
        delimiter = "\t" if cells > 1 and share >= 0.9 else None
    if delimiter is not None:
        return read_csv(source, encoding, delimiter)
    lines = (line.strip("\r\n") for line in _bounded(source.text(encoding), source.name))
    rows = (Row([line.replace("\0", "")], "The row holds NUL bytes." if "\0" in line else "") for line in lines if line)
    return Content(["text"], rows, encoding)


#: Lists and objects in each other, as deep as a cell may hold them.
MAX_NESTING = 100

#: NaN and Infinity, which Python's own json writes, are missing values.
_JSON = json.JSONDecoder(parse_constant=lambda _: None)

#: Characters that are read of an array at a time.
_CHUNK = 1 << 16


def read_jsonl(source: Source, encoding: str | None, looked_at: int | None = SAMPLE_ROWS) -> Content:
    """JSON Lines: an object, or a string, a line."""
    encoding = source.encoding(encoding)

    def objects() -> Iterator[Any]:
        for line in _bounded(source.text(encoding), source.name):
            if line.strip():
                try:
                    yield _JSON.decode(line)
                except (ValueError, RecursionError) as error:
                    yield ClassifierError(f"The line is no JSON ({error}): {line.strip()[:200]}")

    return _from_objects(objects(), encoding, source.name, looked_at)


def read_json(source: Source, encoding: str | None, looked_at: int | None = SAMPLE_ROWS) -> Content:
    """A JSON array of objects or strings, read as a stream; or JSON Lines under this name."""
    encoding = source.encoding(encoding)
    start = source.sample.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    if start.startswith("{"):
        try:
            _JSON.decode(re.split(r"[\r\n]", start, maxsplit=1)[0])
        except (ValueError, RecursionError):
            raise ClassifierError(
                f"{source.name!r} is one JSON object; expected an array of objects, or an object on each line."
            ) from None
        return read_jsonl(source, encoding, looked_at)
    if not start.startswith("["):
        raise ClassifierError(f"{source.name!r} is no JSON: it starts with {start[:20]!r}; expected '['.")
    return _from_objects(_array_items(source.text(encoding)), encoding, source.name, looked_at)


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at


def _array_items(text: TextIO) -> Iterator[Any]:
    """Items of a JSON array as a stream, then an error if it breaks off."""
    while text.read(1) != "[":  # the caller has seen it
        pass
    part, at, size = "", 0, _CHUNK
    while True:
        at = _after_blanks(part, at)
        if part.startswith("]", at):
            return
        try:
            item, end = _JSON.raw_decode(part, at)
            end = _after_blanks(part, end)
            if part[end : end + 1] not in (",", "]"):
                raise ValueError("expected ',' or ']' behind it")
        except (ValueError, RecursionError) as error:
            more = "" if isinstance(error, RecursionError) or len(part) - at > MAX_LINE else text.read(size)
            if not more:
                yield ClassifierError(f"The file breaks off here ({error}): {part[at : at + 200]}")
                return
            part, at, size = part[at:] + more, 0, 2 * size
        else:
            yield item
            at, size = end + (part[end] == ","), _CHUNK


def _shallow(item: Any) -> Any:
    """The item, or an error where its values nest so deep that it could not be written again."""
    level = [item]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return item
    return ClassifierError(f"The row nests lists over {MAX_NESTING} deep; it is no message.")


def _from_objects(objects: Iterator[Any], encoding: str, name: str, looked_at: int | None) -> Content:
    """Columns are the keys of the first objects; a later object with others gets an error that holds them."""
    objects = ({"text": item} if isinstance(item, str) else _shallow(item) for item in objects)
    first = list(islice(objects, looked_at))
    columns = list(dict.fromkeys(key for item in first if isinstance(item, dict) for key in item))
    if not columns:
        problem = next((str(item) for item in first if isinstance(item, ClassifierError)), "it holds no objects")
        raise ClassifierError(f"{name!r} cannot be read as JSON: {problem}")

    def rows() -> Iterator[Row]:
        known = set(columns)
        for item in chain(first, objects):
            if isinstance(item, dict):
                extra = {key: value for key, value in item.items() if key not in known}
                error = f"Unknown keys, left out: {json.dumps(extra, default=str)[:200]}" if extra else ""
                yield Row([item.get(column) for column in columns], error)
            else:
                error = str(item) if isinstance(item, ClassifierError) else f"No object, but {json.dumps(item)[:200]}."
                yield Row([None] * len(columns), error)

    return Content(columns, rows(), encoding)


def read_xlsx(source: Source, max_bytes: int | None = None) -> Content:
    """The sheet of an Excel workbook that holds the messages."""
    sheet = find_sheet(source, max_bytes)
    widths = sorted((len(row.cells) for row in sheet.first), reverse=True)
    width = widths[len(widths) // 5]  # many rows are narrower, for a sheet leaves out empty cells at the end
    # Lines before the header may have two cells, such as "Exported by | Max"; a header may leave a column unnamed.
    named, rows, notes = _with_header(chain(sheet.first, sheet.rest), math.ceil(0.75 * width))
    columns = [*named, *[None] * (width - len(named))]
    return Content(columns, _padded(rows, len(columns)), notes=(*notes, sheet.note) if sheet.note else notes)


def _padded(rows: Iterator[Row], columns: int) -> Iterator[Row]:
    """Rows of a sheet, which leaves out empty cells at the end."""
    return _fitted((Row(row.cells + [None] * (columns - len(row.cells))) for row in rows), columns)


READERS: dict[str, Callable[..., Content]] = {
    "csv": read_csv,
    "text": read_text,
    "json": read_json,
    "jsonl": read_jsonl,
    "xlsx": read_xlsx,
    "parquet": read_parquet,
}
