"""Readers of each table format: columns, and rows that carry their own errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TextIO

from .delimited import NO_DELIMITER, find_delimiter, records, shape
from .errors import ClassifierError
from .parquet import read_parquet
from .rows import SAMPLE_ROWS, TEXT_NAMES, Content, Row
from .sheets import find_sheet
from .sources import Source

#: Characters of one line; what is longer is damage.
MAX_LINE = 1 << 20


def _bounded(text: Any, name: str) -> Iterator[str]:
    while line := text.readline(MAX_LINE):
        if len(line) >= MAX_LINE:
            raise ClassifierError(f"{name!r} has a line of over {MAX_LINE:,} characters; it is no table of messages.")
        yield line


def _fitted(rows: Iterator[Row], columns: int) -> Iterator[Row]:
    """Rows with as many cells as there are columns; the others get an error."""
    for row in rows:
        cells, error = row
        count = len(cells)
        if count != columns:
            if not error:
                error = f"The row has {count} cells, the header has {columns}."
                if count > columns:
                    error += f" Left out: {' | '.join(map(str, cells[columns:]))[:200]}"
            row = Row((cells + [None] * columns)[:columns], error)
        yield row


def _is_header(cells: Sequence[Any]) -> bool:
    """Whether a first row names columns: short names without numbers or sentences."""
    if _names_text(cells):
        return True
    names = [str(cell).strip() for cell in cells if cell is not None and str(cell).strip()]
    # Beside other columns one may ask "Timely response?"; alone that is a message.
    return len(names) * 2 > len(cells) and all(
        len(name) <= 100
        and len(name.split()) <= 5
        and not re.search(r"^[\d.,:/-]+$", name)
        and (name[-1] not in ".!?" or (len(cells) > 1 and name[-1] == "?" and len(name.split()) <= 3))
        for name in names
    )


def _names_text(cells: Sequence[Any]) -> bool:
    """Whether one of the cells is just the name of a text column, one that is no category as "complaint" may be."""
    return any(isinstance(cell, str) and cell.strip("\ufeff \t").lower() in TEXT_NAMES[:3] for cell in cells)


def _with_header(rows: Iterator[Row], width: int) -> tuple[Sequence[Any], Iterator[Row], tuple[str, ...]]:
    """Names of the columns, the rows below, and notes; skips lines before the header that have fewer cells."""
    skipped: list[Row] = []
    for row in islice(rows, 20):
        if _names_text(row.cells):  # also where rows end in a delimiter, and so have a cell more
            row = Row(row.cells + [None] * (width - len(row.cells)))
        if len(row.cells) >= width:
            notes = (f"Skipped {len(skipped)} line(s) before the header.",) if skipped else ()
            if _is_header(row.cells):
                return row.cells, rows, notes
            return [None] * len(row.cells), chain([row], rows), (*notes, "No header found: columns are numbered.")
        skipped.append(row)
    return [None] * width, chain(skipped, rows), ("No header found: columns are numbered.",)


def read_csv(source: Source, encoding: str | None, delimiter: str | None = None) -> Content:
    """CSV of any delimiter, quoting and encoding."""
    encoding = source.encoding(encoding)
    decoded = source.sample[: 1 << 20].decode(encoding, "replace")
    delimiter = delimiter or find_delimiter(decoded, complete=len(source.sample) < 1 << 20)
    width, _ = shape(decoded, delimiter, len(source.sample) < 1 << 20)
    found = records(_bounded(source.text(encoding), source.name), delimiter)
    columns, rows, notes = _with_header(found, width)
    shown = None if delimiter == NO_DELIMITER else delimiter
    return Content(columns, _fitted(rows, len(columns)), encoding, shown, notes)


def read_text(source: Source, encoding: str | None) -> Content:
    """Plain text: a message a line."""
    encoding = source.encoding(encoding)
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
