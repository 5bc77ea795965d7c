"""Tables out: CSV, TSV, JSON Lines, JSON, Excel and Parquet, to a path, URL or pipe, gzip'd if its name says so."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from .errors import ClassifierError
from .plain_json import dump
from .rows import import_parquet

#: Signs that make a spreadsheet run a cell as a formula (OWASP, "CSV Injection"), wide forms included.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

#: Limits of an Excel sheet.
EXCEL_ROWS, EXCEL_CHARACTERS = 1_048_576, 32_767

#: What the XML of a sheet cannot hold; also not as an escape.
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

#: Rows of a Parquet row group.
ROW_GROUP = 10_000

#: Gives the rows from the start each time it is called.
Rows = Callable[[], Iterator[list[Any]]]


def output_format(target: str, chosen: str | None = None) -> str:
    """The format to write, chosen or by the ending of the target; JSON Lines for a pipe.

    Raises:
        ClassifierError: There is none of that name or ending.
    """
    ending = Path(target.lower().removesuffix(".gz")).suffix.removeprefix(".")
    name = chosen or ("jsonl" if target == "-" else {"ndjson": "jsonl", "tab": "tsv", "txt": "csv"}.get(ending, ending))
    if name not in WRITERS:
        raise ClassifierError(f"{target!r} cannot be written as {name or 'a format'!r}; use {', '.join(WRITERS)}.")
    if name in ("xlsx", "parquet") and target.lower().endswith(".gz"):
        raise ClassifierError(f"{target!r}: {name} files are compressed already; leave .gz out.")
    return name


def write_table(columns: Sequence[str], rows: Rows, target: str, format: str | None = None) -> None:
    """Write a table. A local file appears at once and whole; until then `TARGET.writing` holds it.

    Args:
        columns: Names of the columns.
        rows: Gives the rows, each as long as `columns`.
        target: A path, a URL that fsspec knows, or ``"-"`` for standard output.
        format: One of WRITERS; by the ending of the target if None.

    Raises:
        ClassifierError: The format is unknown, the target cannot be written, or the table is too long for it.
    """
    import fsspec

    write = WRITERS[output_format(target, format)]
    local = "://" not in target
    part = f"{target}.writing" if local else target
    try:
        if target == "-":
            write(columns, rows, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        with fsspec.open(part, "wb", compression="gzip" if target.endswith(".gz") else None) as out:
            write(columns, rows, cast(BinaryIO, out))
        if local:
            Path(part).replace(target)
    except BrokenPipeError:  # the reader has seen enough
        raise
    except (OSError, ImportError) as error:
        if target == "-":  # what is left in its buffer would fail once more when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ClassifierError(
            f"{target!r} cannot be written: {getattr(error, 'strerror', None) or error}. Check the path."
        ) from None


def neutralised(value: Any) -> Any:
    """A cell that no spreadsheet runs: texts that would be formulas get an apostrophe before; numbers stay."""
    if not isinstance(value, str) or not value.startswith(FORMULA_SIGNS):
        return value
    try:
        return value if math.isfinite(float(value)) else f"'{value}"  # -inf is the name of nothing there
    except ValueError:
        return f"'{value}"


def _plain(value: Any) -> Any:
    """A cell of a flat format: nested values as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value


def _write_csv(columns: Sequence[str], rows: Rows, out: BinaryIO, delimiter: str = ",") -> None:
    # The mark at the start makes Excel read UTF-8.
    text = io.TextIOWrapper(out, encoding="utf-8-sig", errors="replace", newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(map(neutralised, columns))
    for row in rows():
        writer.writerow([neutralised(_plain(cell)) for cell in row])
    text.detach()


def _write_tsv(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    _write_csv(columns, rows, out, "\t")


def _write_jsonl(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    for row in rows():
        out.write(dump(dict(zip(columns, row, strict=True))) + b"\n")


def _write_json(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    out.write(b"[")
    for number, row in enumerate(rows()):
        out.write((b",\n" if number else b"\n") + dump(dict(zip(columns, row, strict=True))))
    out.write(b"\n]\n")


def _write_xlsx(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    import openpyxl

    def cell(value: Any) -> Any:
        value = _plain(value)
        # In this order: behind what is taken out there may be a sign of a formula.
        return neutralised(NOT_IN_XML.sub("", value))[:EXCEL_CHARACTERS] if isinstance(value, str) else value

    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet("Results")
    sheet.freeze_panes = "A2"
    sheet.append([cell(name) for name in columns])
    for number, row in enumerate(rows(), 2):
        if number > EXCEL_ROWS:
            raise ClassifierError(
                f"An Excel sheet holds {EXCEL_ROWS:,} rows, the table has more; write CSV or Parquet."
            )
        sheet.append([cell(value) for value in row])
    workbook.save(out)


def _write_parquet(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    pyarrow, parquet = import_parquet()
    # A file has one type a column, so all rows are looked at before the first is written.
    kinds: list[set[str]] = [set() for _ in columns]
    for row in rows():
        for kind, value in zip(kinds, row, strict=True):
            kind.add(_kind(value))
    types = [_arrow_type(kind - {"nothing"}) for kind in kinds]
    schema = pyarrow.schema(list(zip(columns, types, strict=True)))

    def group(batch: list[list[Any]]) -> Any:
        arrays = []
        for values, kind in zip(zip(*batch, strict=True), types, strict=True):
            if kind == pyarrow.string():
                values = tuple(None if value is None else str(_plain(value)) for value in values)
            arrays.append(pyarrow.array(values, kind))
        return pyarrow.record_batch(arrays, schema=schema)

    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        batch: list[list[Any]] = []
        for row in rows():
            batch.append(row)
            if len(batch) == ROW_GROUP:
                writer.write_batch(group(batch))
                batch = []
        if batch:
            writer.write_batch(group(batch))


def _kind(value: Any) -> str:
    """What a column must be able to hold for this value."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) <= 2**53 else "long int" if abs(value) < 2**63 else "text"
    return "float" if isinstance(value, float) else "text"


def _arrow_type(kinds: set[str]) -> Any:
    pyarrow, _ = import_parquet()
    for holds, type in (
        ({"bool"}, pyarrow.bool_()),
        ({"int", "long int"}, pyarrow.int64()),
        ({"int", "float"}, pyarrow.float64()),  # which holds no long int exactly
    ):
        if kinds and kinds <= holds:
            return type
    return pyarrow.string()


WRITERS: dict[str, Callable[[Sequence[str], Rows, BinaryIO], None]] = {
    "csv": _write_csv,
    "tsv": _write_tsv,
    "jsonl": _write_jsonl,
    "json": _write_json,
    "xlsx": _write_xlsx,
    "parquet": _write_parquet,
}
