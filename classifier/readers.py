"""Readers of each table format: columns, and rows that carry their own errors."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TextIO

from .delimited import NO_DELIMITER, find_delimiter, records, shape
from .errors import ClassifierError
from .rows import SAMPLE_ROWS, TEXT_NAMES, Content, Row, import_parquet
from .sources import BOMB_FACTOR, BOMB_FLOOR, Source

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
