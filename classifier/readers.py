"""Readers of each table format: columns, and rows that carry their own errors."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import Counter
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
from .rows import SAMPLE_ROWS, Content, Row, import_parquet
from .sources import BOMB_FACTOR, BOMB_FLOOR, Source


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
    return (f"Skipped {lines} line(s) before the header.",) if lines else ()


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


def read_jsonl(source: Source, encoding: str | None, looked_at: int | None = SAMPLE_ROWS) -> Content:
    """JSON Lines: an object, or a string, a line."""
    encoding = source.encoding(encoding)

    def objects() -> Iterator[Any]:
        for line in _bounded(source.text(encoding), source.name):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    yield ClassifierError(f"The line is no JSON ({error}): {line.strip()[:200]}")

    return _from_objects(objects(), encoding, source.name, looked_at)


class _Utf8:
    """A text as the UTF-8 bytes that the JSON parser takes."""

    def __init__(self, text: TextIO) -> None:
        self._text = text

    def read(self, size: int = -1) -> bytes:
        return self._text.read(size).encode("utf-8", "replace")


def read_json(source: Source, encoding: str | None, looked_at: int | None = SAMPLE_ROWS) -> Content:
    """A JSON array of objects or strings, read as a stream; or JSON Lines under this name."""
    import ijson

    encoding = source.encoding(encoding)
    start = source.sample.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    if start.startswith("{"):
        try:
            json.loads(start.splitlines()[0])
        except ValueError:
            raise ClassifierError(
                f"{source.name!r} is one JSON object; expected an array of objects, or an object on each line."
            ) from None
        return read_jsonl(source, encoding, looked_at)
    if not start.startswith("["):
        raise ClassifierError(f"{source.name!r} is no JSON: it starts with {start[:20]!r}; expected '['.")
    recoded = _Utf8(source.text(encoding))

    def objects() -> Iterator[Any]:
        try:
            yield from ijson.items(recoded, "item", use_float=True)
        except ijson.JSONError as error:
            yield ClassifierError(f"The file breaks off here: {error}")

    return _from_objects(objects(), encoding, source.name, looked_at)


def _from_objects(objects: Iterator[Any], encoding: str, name: str, looked_at: int | None) -> Content:
    """Columns are the keys of the first objects; a later object with others gets an error that holds them."""
    first = [{"text": item} if isinstance(item, str) else item for item in islice(objects, looked_at)]
    columns = list(dict.fromkeys(key for item in first if isinstance(item, dict) for key in item))
    if not columns:
        problem = next((str(item) for item in first if isinstance(item, ClassifierError)), "it holds no objects")
        raise ClassifierError(f"{name!r} cannot be read as JSON: {problem}")

    def rows() -> Iterator[Row]:
        known = set(columns)
        for item in chain(first, objects):
            if isinstance(item, str):
                item = {"text": item}
            if isinstance(item, dict):
                extra = {key: value for key, value in item.items() if key not in known}
                error = f"Unknown keys, left out: {json.dumps(extra, default=str)[:200]}" if extra else ""
                yield Row([item.get(column) for column in columns], error)
            else:
                error = str(item) if isinstance(item, ClassifierError) else f"No object, but {json.dumps(item)[:200]}."
                yield Row([None] * len(columns), error)

    return Content(columns, rows(), encoding)


#: What openpyxl raises for damaged workbooks; a fault in their XML is a SyntaxError.
_DAMAGED_XLSX = (zipfile.BadZipFile, zlib.error, SyntaxError, KeyError, TypeError, ValueError, EOFError, OSError)


def _undamaged(items: Iterator[Any], name: str, damages: tuple[type[Exception], ...]) -> Iterator[Any]:
    """The items of a library's reader, whose own errors become a sentence."""
    try:
        yield from items
    except damages as error:
        raise ClassifierError(f"{name!r} is damaged inside ({error}); export it again.") from None


def read_xlsx(source: Source) -> Content:
    """The first sheet of an Excel workbook that holds anything; formulas by their stored values."""
    import openpyxl

    file = source.seekable()
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > max(BOMB_FLOOR, BOMB_FACTOR * (source.size or len(source.sample))):
                raise ClassifierError(f"{source.name!r} unpacks to over {BOMB_FACTOR} times its size; save it again.")
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except ClassifierError:
        raise
    except _DAMAGED_XLSX as error:
        raise ClassifierError(
            f"{source.name!r} is no Excel workbook ({error}); open it in Excel and save it as .xlsx."
        ) from None

    def sheet_rows(sheet: Any) -> Iterator[Row]:
        for cells in _undamaged(sheet.iter_rows(values_only=True), source.name, _DAMAGED_XLSX):
            filled = [number for number, cell in enumerate(cells, 1) if cell is not None]
            if filled:
                yield Row(list(cells[: filled[-1]]))

    for sheet in workbook.worksheets:
        rows = sheet_rows(sheet)
        first = list(islice(rows, 50))
        if first:
            width = Counter(len(row.cells) for row in first).most_common(1)[0][0]
            columns, rest, notes = _with_header(chain(first, rows), min(width, 2))
            if len(workbook.worksheets) > 1:
                notes = (*notes, f"Read the sheet {sheet.title!r} of {len(workbook.worksheets)}.")
            return Content(columns, _padded(rest, len(columns)), notes=notes)
    raise ClassifierError(f"{source.name!r} has no filled sheet; give one with at least one message.")


def _padded(rows: Iterator[Row], columns: int) -> Iterator[Row]:
    """Rows of a sheet, which leaves out empty cells at the end."""
    return _fitted((Row(row.cells + [None] * (columns - len(row.cells))) for row in rows), columns)


def read_parquet(source: Source) -> Content:
    """Parquet, in batches."""
    pyarrow, parquet = import_parquet()
    try:
        file = parquet.ParquetFile(source.seekable())
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ClassifierError(f"{source.name!r} is no readable Parquet file ({error}); export it again.") from None
    batches = _undamaged(file.iter_batches(batch_size=2048), source.name, (pyarrow.ArrowException, OSError))
    rows = (
        Row(list(cells))
        for batch in batches
        for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    return Content(file.schema_arrow.names, rows)


READERS: dict[str, Callable[..., Content]] = {
    "csv": read_csv,
    "text": read_text,
    "json": read_json,
    "jsonl": read_jsonl,
    "xlsx": read_xlsx,
    "parquet": read_parquet,
}
