"""Excel workbooks: the sheet that holds the messages, and its rows without what Excel leaves empty."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from .errors import ClassifierError
from .rows import Row
from .sources import Source
from .text_column import TEXT_NAMES
from .unpacked import Unpacked, undamaged

#: Rows of the largest sheet. A row number beyond it is damage, up to which openpyxl would give empty rows.
SHEET_ROWS = 1 << 20

#: Rows by which a sheet is judged.
FIRST_ROWS = 50

#: What openpyxl raises for damaged workbooks; a fault in their XML is a SyntaxError.
_DAMAGED = (zipfile.BadZipFile, zlib.error, SyntaxError, KeyError, TypeError, ValueError, EOFError, OSError)


class Sheet(NamedTuple):
    """A sheet that holds something.

    Attributes:
        first: Its first filled rows, at most FIRST_ROWS.
        rest: The filled rows below.
        note: Which of the sheets it is; empty if there is one only.
    """

    first: list[Row]
    rest: Iterator[Row]
    note: str


def find_sheet(source: Source, max_bytes: int | None) -> Sheet:
    """The first visible sheet of a workbook that is a table, else the first that holds anything.

    Raises:
        ClassifierError: The file is no workbook, over a limit, or empty.
    """
    unpacked = Unpacked(source, max_bytes)
    sheets = _open(source, unpacked).worksheets
    covers = []
    for sheet in sheets:
        if sheet.sheet_state != "visible":
            continue
        rows = _filled_rows(sheet, source.name, unpacked)
        note = f"Read the sheet {sheet.title!r} of {len(sheets)}." if len(sheets) > 1 else ""
        found = Sheet(list(islice(rows, FIRST_ROWS)), rows, note)
        if _is_table(found.first):
            return found
        if found.first:
            covers.append(found)
    if not covers:
        raise ClassifierError(
            f"{source.name!r} has no filled sheet that is visible; give one with at least one message."
        )
    return covers[0]


def _open(source: Source, unpacked: Unpacked) -> Any:
    import openpyxl

    file = source.seekable()
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked.check(sum(member.file_size for member in archive.infolist()))
        return openpyxl.load_workbook(file, read_only=True, data_only=True)
    except ClassifierError:
        raise
    except _DAMAGED as error:
        raise ClassifierError(
            f"{source.name!r} is no Excel workbook ({error}); open it in Excel and save it as .xlsx."
        ) from None


def _filled_rows(sheet: Any, name: str, unpacked: Unpacked) -> Iterator[Row]:
    """Rows of a sheet that hold something, up to their last filled cell; formulas by their stored values."""
    sheet.reset_dimensions()  # else one cell in the last corner makes every row 16,384 cells wide
    for cells in undamaged(islice(sheet.iter_rows(values_only=True), SHEET_ROWS), name, _DAMAGED):
        # A text is stored once, however many cells show it, and a row is padded up to its last cell.
        unpacked.add(len(cells) + sum(len(cell) for cell in cells if isinstance(cell, str)))
        filled = [number for number, cell in enumerate(cells, 1) if _is_filled(cell)]
        if filled:
            yield Row(list(cells[: filled[-1]]))


def _is_filled(cell: Any) -> bool:
    return cell is not None and not (isinstance(cell, str) and not cell.strip())


def _is_table(first: list[Row]) -> bool:
    """Whether a sheet is more than a cover: it has columns, is long, or names its only column."""
    wide = sum(sum(map(_is_filled, row.cells)) > 1 for row in first)
    return wide > 1 or len(first) == FIRST_ROWS or (len(first) > 1 and str(first[0].cells[0]).lower() in TEXT_NAMES)
