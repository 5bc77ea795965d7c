"""Limits of formats that are packed inside, as workbooks and Parquet are: a small file of them may hold any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import ClassifierError
from .sources import BOMB_FACTOR, BOMB_FLOOR, Source


class Unpacked:
    """Counts what comes out of a packed file.

    Args:
        source: The file.
        max_bytes: Most bytes that may come out of it; None for any.
    """

    def __init__(self, source: Source, max_bytes: int | None) -> None:
        self._name, self._limit = source.name, max_bytes
        self._plausible = max(BOMB_FLOOR, BOMB_FACTOR * (source.size or len(source.sample)))
        self._count = 0

    def add(self, size: int) -> None:
        """Count bytes, or characters, that came out.

        Raises:
            ClassifierError: All in all they are too many.
        """
        self._count += size
        self.check(self._count)

    def check(self, size: int) -> None:
        """Refuse a file that says to hold so many bytes, before they are read.

        Raises:
            ClassifierError: They are too many.
        """
        if self._limit is not None and size > self._limit:
            raise ClassifierError(
                f"{self._name!r} is longer than {self._limit >> 20} MiB unpacked, the limit here; split it."
            )
        if size > self._plausible:
            raise ClassifierError(
                f"{self._name!r} unpacks to over {BOMB_FACTOR} times its size, as no export does; save it as CSV."
            )


def undamaged(items: Iterator[Any], name: str, damages: tuple[type[Exception], ...]) -> Iterator[Any]:
    """The items of a library's reader, whose own errors become a sentence.

    Args:
        items: What the reader gives.
        name: The file's name.
        damages: What the library raises for damaged files.

    Raises:
        ClassifierError: The file is damaged, or over a limit.
    """
    try:
        yield from items
    except ClassifierError:
        raise
    except damages as error:
        reason = " ".join(str(error).split())
        raise ClassifierError(f"{name!r} is damaged inside ({reason}); export it again.") from None
