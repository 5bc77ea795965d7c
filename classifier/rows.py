"""Tables in: a file, URL or pipe becomes a stream of rows; what is wrong with a row goes into its error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple

from .errors import ClassifierError
from .sources import Source
from .text_column import find_text_column

#: Rows that are looked at to find the columns and the text column; also what a preview can show.
SAMPLE_ROWS = 1000


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        cells: Its values, as many as the table has columns.
        error: What is wrong with it, in a sentence; empty if nothing is.
    """

    cells: list[Any]
    error: str = ""


@dataclass
class Table:
    """An open table. Iterate over it once, then close it (or use it in a `with` block).

    Attributes:
        name: The file's name, for people.
        format: ``"csv"``, ``"text"``, ``"json"``, ``"jsonl"``, ``"xlsx"`` or ``"parquet"``.
        columns: Names of the columns, without repetition.
        encoding: Of text formats, as Python names it.
        delimiter: Of CSV files.
        notes: What a person should know, such as skipped lines before the header.
        preview: The first rows, at most SAMPLE_ROWS; they come again when the table is iterated over.
        text_column: The column with the messages; empty while nobody has asked for it.
    """

    name: str
    format: str
    columns: tuple[str, ...]
    encoding: str | None
    delimiter: str | None
    notes: tuple[str, ...]
    preview: list[Row]
    _source: Source
    _rest: Iterator[Row]
    _closing: ExitStack = field(default_factory=ExitStack)
    text_column: str = ""

    def __iter__(self) -> Iterator[Row]:
        """The rows; one whose text cannot be classified has an error that says why."""
        position = self.columns.index(self.text_column)
        for row in self.rows():
            if row.error:
                yield row
                continue
            text = row.cells[position]
            if isinstance(text, str) and text.strip():
                yield row
            elif text is None or isinstance(text, str):
                yield Row(row.cells, f"The cell {self.text_column!r} is empty.")
            else:
                kind = type(text).__name__
                yield Row(row.cells, f"The cell {self.text_column!r} holds a value of type {kind}, not a text.")

    def rows(self) -> Iterator[Row]:
        """The rows as they stand, also those without a message."""
        return chain(self.preview, self._rest)

    def share_read(self) -> float | None:
        """Share of the file's bytes that was read so far, 0 to 1; None when its size is unknown."""
        return self._source.share_read()

    @property
    def fingerprint(self) -> str:
        """Identifies the file by its size and its beginning, to notice that another one took its place."""
        return self._source.fingerprint

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._closing.close()


class Content(NamedTuple):
    """What a reader of one format finds: columns and rows, and how it read them."""

    columns: Sequence[str]
    rows: Iterator[Row]
    encoding: str | None = None
    delimiter: str | None = None
    notes: tuple[str, ...] = ()


def open_table(
    source: Any,
    *,
    text_column: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    max_bytes: int | None = None,
    max_rows: int | None = None,
) -> Table:
    """Open a table of messages and find out how to read it. Compressed with gzip or not, it is read as a stream.

    Args:
        source: A path, any URL that fsspec knows (``s3://...``, ``hf://...``), or ``"-"`` for standard input.
        text_column: The column with the messages; found by its name, then by content, if None.
        delimiter: Of a CSV file; detected if None. Given for a text file, it makes a table of that.
        encoding: Of a text format; detected if None.
        max_bytes: Refuse files that are longer than this when uncompressed.
        max_rows: Refuse files with more rows than this.

    Raises:
        ClassifierError: The file cannot be opened, is not what its name says, is empty or over a limit, or has
            no such column. While iterating: it breaks off, or passes a limit.
    """
    table = open_rows(source, delimiter=delimiter, encoding=encoding, max_bytes=max_bytes, max_rows=max_rows)
    with ExitStack() as closing:
        closing.enter_context(table)
        table.text_column = find_text_column(table.columns, table.preview, text_column, table.name)
        closing.pop_all()
    return table


def read_texts(source: Any) -> list[str]:
    """All messages of a table in memory; rows that cannot be read are left out. Raises as `open_table`.

    Args:
        source: As for `open_table`.
    """
    with open_table(source) as table:
        at = table.columns.index(table.text_column)
        return [row.cells[at] for row in table if not row.error]


def open_rows(
    source: Any,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    max_bytes: int | None = None,
    max_rows: int | None = None,
    all_keys: bool = False,
) -> Table:
    """Open a table without looking for messages in it.

    Args:
        source: This and the others as for `open_table`.
        delimiter: Of a CSV file.
        encoding: Of a text format.
        max_bytes: Most bytes.
        max_rows: Most rows.
        all_keys: Make a column of every key in a JSON file, which then is read into memory, not only of those in the
            first rows.

    Raises:
        ClassifierError: As `open_table`.
    """
    from .readers import READERS

    with ExitStack() as closing:
        opened = closing.enter_context(Source(source, max_bytes))
        format = opened.format()
        reader: Callable[..., Content] = READERS[format]
        options: dict[str, Any] = {"max_bytes": max_bytes} if format in ("xlsx", "parquet") else {"encoding": encoding}
        if format in ("csv", "text"):
            options["delimiter"] = delimiter
        if all_keys and format in ("json", "jsonl"):
            options["looked_at"] = None
        found = reader(opened, **options)
        columns = unique_names(found.columns)
        rows = _limited(found.rows, max_rows, opened.name)
        preview = list(islice(rows, SAMPLE_ROWS))
        if not preview:
            raise ClassifierError(f"{opened.name!r} has no rows; give a file with at least one message.")
        return Table(
            name=opened.name,
            format="csv" if found.delimiter else format,
            columns=columns,
            encoding=found.encoding,
            delimiter=found.delimiter,
            notes=found.notes,
            preview=preview,
            _source=opened,
            _rest=rows,
            _closing=closing.pop_all(),
        )


def _limited(rows: Iterator[Row], limit: int | None, name: str) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if limit is not None and number >= limit:
            raise ClassifierError(f"{name!r} has over {limit:,} rows, the limit here; split the file.")
        yield row


def unique_names(names: Sequence[Any]) -> tuple[str, ...]:
    """Names of columns: blanks stripped, empty ones numbered, repeated ones with a number behind."""
    unique: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        base = str(name).strip() if name is not None else ""
        base = candidate = base or f"column_{number}"
        repeat = 2
        while candidate in unique:
            candidate, repeat = f"{base}_{repeat}", repeat + 1
        unique[candidate] = None
    return tuple(unique)


def import_parquet() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`, which are no requirement: they are a third as large as all the others together.

    Raises:
        ClassifierError: They are not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ClassifierError(
            "Parquet needs pyarrow, which is not installed: run `pip install pyarrow`, or use CSV or JSON Lines."
        ) from None
    return pyarrow, parquet
