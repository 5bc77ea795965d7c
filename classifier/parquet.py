"""Parquet, in batches that are small in memory, with texts as texts and times as Python knows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from .errors import ClassifierError
from .rows import Content, Row, import_parquet
from .sources import Source
from .unpacked import Unpacked, undamaged

#: Most rows of a batch, and most bytes of texts that are decoded at a time.
BATCH_ROWS, BATCH_BYTES = 2048, 128 << 20


def read_parquet(source: Source, max_bytes: int | None = None) -> Content:
    """Parquet, as a stream of batches.

    Args:
        source: The file.
        max_bytes: Most bytes of its pages, and of its texts, when unpacked.

    Raises:
        ClassifierError: The file is damaged or over a limit.
    """
    pyarrow, parquet = import_parquet()
    damages = (pyarrow.ArrowException, OSError, ValueError, LookupError, OverflowError)
    file = source.seekable()
    try:
        metadata = parquet.read_metadata(file)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        listed = {number for number, column in enumerate(columns) if column.max_repetition_level}
        deltas = _deltas(groups) - listed
        # A text that many rows or lists repeat is stored once. As a dictionary it stays so until it is counted.
        texts = [
            column.path
            for number, column in enumerate(columns)
            if column.physical_type == "BYTE_ARRAY" and number not in deltas
        ]
        file = parquet.ParquetFile(file, metadata=metadata, read_dictionary=texts)
        names = file.schema_arrow.names
    except damages as error:
        raise ClassifierError(f"{source.name!r} is no readable Parquet file ({error}); export it again.") from None
    unpacked = Unpacked(source, max_bytes)
    unpacked.check(sum(group.total_byte_size for group in groups))
    unpacked.check(sum(8 * group.column(number).num_values for group in groups for number in listed))
    # Outside of a dictionary each row may become as large as its whole group is in the file.
    largest = max((group.total_byte_size for group in groups), default=0) if deltas else 0
    batches = file.iter_batches(batch_size=max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, largest))))
    return Content(names, undamaged(_rows(batches, unpacked), source.name, damages))


def _deltas(groups: list[Any]) -> set[int]:
    """Columns whose texts are stored as differences to the row before, which pyarrow reads into no dictionary."""
    return {
        number
        for group in groups
        for number in range(group.num_columns)
        if "DELTA_BYTE_ARRAY" in group.column(number).encodings
    }


def _rows(batches: Iterator[Any], unpacked: Unpacked) -> Iterator[Row]:
    for batch in batches:
        unpacked.add(sum(map(_text_bytes, batch.columns)))
        for piece in _pieces(batch):
            for cells in zip(*map(_values, piece.columns), strict=True):
                yield Row(list(cells))


def _pieces(batch: Any) -> Iterator[Any]:
    """A batch in parts of at most BATCH_BYTES of texts, or of one row."""
    if batch.num_rows == 1 or sum(map(_text_bytes, batch.columns)) <= BATCH_BYTES:
        yield batch
    else:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half))
        yield from _pieces(batch.slice(half))


def _text_bytes(array: Any) -> int:
    """Bytes of the texts in an array once each value stands for itself."""
    pyarrow, _ = import_parquet()
    if isinstance(array, pyarrow.DictionaryArray):
        return _sum(_lengths(array.dictionary).take(array.indices)) if _is_text(array.type.value_type) else 0
    if isinstance(array, pyarrow.StructArray):
        return sum(map(_text_bytes, array.flatten()))
    if isinstance(array, pyarrow.MapArray):
        return _text_bytes(array.keys) + _text_bytes(array.items)
    if isinstance(array, (pyarrow.ListArray, pyarrow.LargeListArray)):
        return _text_bytes(array.flatten())
    return _sum(_lengths(array)) if _is_text(array.type) else 0


def _is_text(kind: Any) -> bool:
    """Whether values are texts, or the bytes of texts, as Spark and Impala write them."""
    return str(kind) in ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")


def _lengths(texts: Any) -> Any:
    import pyarrow.compute

    return pyarrow.compute.binary_length(texts.cast(pyarrow.large_binary()))


def _sum(numbers: Any) -> int:
    return numbers.sum().as_py() or 0


def _values(array: Any) -> list[Any]:
    """Values of a column; times that Python does not know become texts."""
    pyarrow, _ = import_parquet()
    if isinstance(array, pyarrow.DictionaryArray):
        array = array.dictionary_decode()
    kind = array.type
    if _is_text(kind):
        values = array.cast(pyarrow.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "replace") for value in values]
    if str(kind).startswith("timestamp[ns"):  # nanoseconds would take pandas
        array = array.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    elif kind == pyarrow.duration("ns"):
        array = array.cast(pyarrow.duration("us"), safe=False)
    try:
        return cast(list, array.to_pylist())
    except (OverflowError, LookupError):  # after the year 9999, or in a time zone that nobody knows
        if pyarrow.types.is_timestamp(kind) and kind.tz:
            array = array.cast(pyarrow.timestamp(array.type.unit, "UTC"))
        return cast(list, array.cast(pyarrow.string()).to_pylist())
