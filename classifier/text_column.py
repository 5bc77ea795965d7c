"""Which column of a table holds the messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import ClassifierError

if TYPE_CHECKING:
    from .rows import Row

#: Names of text columns, most telling first; compared in lower case without signs, whole, then as a part. The first
#: three are never labels, so a row that holds one is a header.
TEXT_NAMES = (
    "text", "message", "body", "review", "comment", "complaint", "feedback", "content", "narrative", "question",
    "description", "utterance", "query", "request", "inquiry", "enquiry", "nachricht", "kommentar", "anfrage",
    "beschreibung", "commentaire", "mensaje", "comentario", "ticket", "note", "subject", "title",
)  # fmt: skip

#: Words that make a name one of something beside the message, as in "Review Username" or "content_type".
_BESIDE = {"id", "name", "username", "type", "date", "time", "timestamp", "created", "updated"}

#: The same at a name's end: a "comment author" is a person, a "user message" a message.
_PEOPLE = {"user", "author", "requester", "reviewer", "commenter", "sender"}


def find_text_column(columns: Sequence[str], rows: Sequence[Row], chosen: str | None, name: str) -> str:
    """The column with the messages: the chosen one, else by its whole name, by a part of it, or by its cells.

    Of several columns whose names hold that of a text column, and of all where no name does, it is the one with the
    most words a cell.

    Args:
        columns: Names of the columns.
        rows: The first rows.
        chosen: What the user asked for, if anything.
        name: The file's name, for errors.

    Raises:
        ClassifierError: There is no such column, or no column holds words.
    """
    listed = ", ".join(map(repr, columns[:30]))
    if chosen is not None:
        if chosen not in columns:
            raise ClassifierError(f"{name!r} has no column {chosen!r}; its columns are {listed}.")
        return chosen
    words = {column: _mean_words([row.cells[at] for row in rows]) for at, column in enumerate(columns)}
    plain = {column: re.sub(r"[^a-z]", "", column.lower()) for column in columns}
    # A column with such a name and one word a cell is an id or a category, as a column "comment" of yes and no.
    wordy = [column for column in columns if words[column] >= 2 or len(columns) == 1]
    for known in TEXT_NAMES:
        for column in wordy:
            if plain[column] == known:
                return column
    partly = [
        column for column in wordy if any(known in plain[column] for known in TEXT_NAMES) and not _is_beside(column)
    ]
    wordiest = max(partly or columns, key=words.__getitem__)
    if words[wordiest] == 0:
        raise ClassifierError(f"No column of {name!r} holds texts; name the right one of {listed}.")
    return wordiest


def _is_beside(name: str) -> bool:
    """Whether a column's name says that it is about the message rather than the message itself."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    return not _BESIDE.isdisjoint(words) or words[-1] in _PEOPLE


def _mean_words(cells: Sequence[Any]) -> float:
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    return sum(len(re.findall(r"[^\W\d_]{2,}", text)) for text in texts) / max(len(texts), 1)
