"""Headers: whether a row of a table names its columns, by itself and by the rows below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .rows import Row
from .text_column import TEXT_NAMES

#: A number, a date or a time, with signs, a time zone or AM and PM.
_NUMBER = re.compile(r"[-+]?\d[\d.,:/ +-]*(T[\d:.]+)?Z?( ?[AP]M)?( [A-Z]{2,4}([+-]\d+)?)?", re.IGNORECASE)

#: What stands for a number or date among others, compared in lower case without signs.
_MISSING = ("na", "nan", "nil", "none", "null", "unknown", "pending", "free", "today", "yesterday")


def is_header(cells: Sequence[Any], below: Sequence[Row], width: int) -> bool:
    """Whether a row names columns.

    Args:
        cells: Of the row.
        below: Some rows below it.
        width: Cells that most rows have.
    """
    if names_text(cells):
        return True
    if len(cells) < width:  # the rows may end in a delimiter, and so have an empty cell more
        ends = [row.cells[-1] for row in below if len(row.cells) == width]
        return len(cells) == width - 1 and bool(ends) and not any(ends) and are_names(cells)
    return are_names(cells) or _names_index(cells, below) or _stands_above_numbers(cells, below)


def names_text(cells: Sequence[Any]) -> bool:
    """Whether one of the cells is just the name of a text column, one that is no category as "complaint" may be."""
    return any(isinstance(cell, str) and cell.strip("\ufeff \t").lower() in TEXT_NAMES[:3] for cell in cells)


def is_title(cells: Sequence[Any], below: Sequence[Row]) -> bool:
    """Whether a row of full width is a title or blank line that Excel has padded to the width of the table."""
    if len(cells) < 2 or any(map(_told, cells[1:])):
        return False
    if not _told(cells[0]) or not below:
        return not _told(cells[0])
    following, others = below[0].cells, below[1:]
    return names_text(following) or _stands_above_numbers(following, others) or is_title(following, others)


def are_names(cells: Sequence[Any]) -> bool:
    """Whether most cells are filled, and all that are with short names without numbers or sentences."""
    names = [name for name in map(_told, cells) if name]
    # Beside other columns one may ask "Timely response?"; alone that is a message.
    return len(names) * 2 > len(cells) and all(
        len(name) <= 100
        and len(name.split()) <= 5
        and not re.search(r"^[\d.,:/-]+$", name)
        and (name[-1] not in ".!?" or (len(cells) > 1 and name[-1] == "?" and len(name.split()) <= 3))
        for name in names
    )


def _told(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _names_index(cells: Sequence[Any], below: Sequence[Row]) -> bool:
    """Whether the first cell is empty above row numbers, as pandas writes an index: `,review` above `0,Works well`."""
    numbers = [_told(row.cells[0]) for row in below if row.cells]
    if _told(cells[0]) or len(cells) < 2 or len(numbers) < 2 or len(set(numbers)) < len(numbers):
        return False
    counted = any(numbers == [str(start + number) for number in range(len(numbers))] for start in (0, 1))
    single = all(re.fullmatch(r"[^\W\d]\w*", _told(cell)) for cell in cells[1:])
    return counted or (single and all(map(str.isdecimal, numbers)))


def _stands_above_numbers(cells: Sequence[Any], below: Sequence[Row]) -> bool:
    """Whether a name stands above numbers or dates; then the others may be long, as the questions of a form are."""
    if any(len(_told(cell)) > 300 or _told(cell).endswith((".", "!")) for cell in cells):
        return False
    return any(
        _is_word(_told(cell)) and _are_numbers([row.cells[at] for row in below if len(row.cells) > at])
        for at, cell in enumerate(cells)
    )


def _is_word(name: str) -> bool:
    stands_in = re.sub(r"\W", "", name.lower()) in _MISSING
    return not stands_in and bool(re.fullmatch(r"[^\W\d]{2}\D*", name)) and len(name.split()) <= 5


def _are_numbers(cells: Sequence[Any]) -> bool:
    return len(cells) > 1 and all(
        bool(_NUMBER.fullmatch(cell.strip())) if isinstance(cell, str) else cell is not None for cell in cells
    )
