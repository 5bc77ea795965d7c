"""Bytes in: a path, URL or pipe as one stream, decompressed, within limits, with its format and encoding detected."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import stat
import sys
import tempfile
import zlib
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from .encoding import detect_encoding, given_encoding
from .errors import ClassifierError

#: Bytes at the beginning that format and encoding are detected on.
SAMPLE_BYTES = 4 << 20

#: A compressed file may grow by this factor once it is over BOMB_FLOOR bytes; exports reach about 20.
BOMB_FACTOR, BOMB_FLOOR = 200, 64 << 20

#: File name endings and the formats they stand for.
ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "text",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}

#: First bytes of binary files: the format, or what to call one that cannot be read.
MAGIC = {
    b"PAR1": "parquet",
    b"PK\x03\x04": "xlsx",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls); save it as .xlsx",
    b"%PDF": "a PDF document; export a table instead",
    b"\x89PNG": "a picture; export a table instead",
    b"\xff\xd8\xff": "a picture; export a table instead",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive; unpack it",
    b"BZh": "a bzip2 archive; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
}


class _Counted(io.RawIOBase):
    """A binary stream that gives back what was sampled from it and counts what is read."""

    def __init__(self, stream: BinaryIO, head: bytes = b"") -> None:
        self.stream, self.head, self.count = stream, head, 0
        self.limit: int | None = None
        self.compressed: _Counted | None = None
        self.name = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.head:
            data, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
        else:
            try:
                data = self.stream.read(len(buffer))
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ClassifierError(f"{self.name!r} is a damaged gzip file ({error}); compress it again.") from None
        buffer[: len(data)] = data
        self.count += len(data)
        if self.limit is not None and self.count > self.limit:
            raise ClassifierError(f"{self.name!r} is longer than {self.limit >> 20} MiB, the limit here; split it.")
        if self.compressed and self.count > max(BOMB_FLOOR, BOMB_FACTOR * self.compressed.count):
            raise ClassifierError(
                f"{self.name!r} unpacks to over {BOMB_FACTOR} times its size, as no export does; unpack it yourself."
            )
        return len(data)


class Source:
    """An opened file, URL or pipe.

    Args:
        source: A path, a URL that fsspec knows, or ``"-"``.
        max_bytes: Most bytes that may come out of it, decompressed.

    Attributes:
        name: The last part of its path, for people.
        sample: Its first decompressed bytes, at most SAMPLE_BYTES.
        stream: All of its decompressed bytes.

    Raises:
        ClassifierError: It cannot be opened, or is empty.
    """

    def __init__(self, source: Any, max_bytes: int | None = None) -> None:
        self._closing = ExitStack()
        self.path = str(source)
        self.name = "standard input" if self.path == "-" else PurePosixPath(self.path.replace("\\", "/")).name
        raw = sys.stdin.buffer if self.path == "-" else self._open()
        self.size = _size(raw)
        head = raw.read(2)
        self._counted = _Counted(cast(BinaryIO, raw), head)
        outer = self._counted
        if head == b"\x1f\x8b":
            unpacked = gzip.GzipFile(fileobj=cast(Any, io.BufferedReader(self._counted)))
            outer = _Counted(cast(BinaryIO, unpacked))
            outer.compressed = self._counted
        outer.limit, outer.name = max_bytes, self.name
        sample = bytearray()
        while len(sample) < SAMPLE_BYTES and (part := outer.read(SAMPLE_BYTES - len(sample))):
            sample += part
        self.sample = bytes(sample)
        if not self.sample.strip():
            raise ClassifierError(f"{self.name!r} is empty; give a file with at least one message.")
        outer.head, outer.count = self.sample, 0
        self.stream = io.BufferedReader(outer, 1 << 18)

    def _open(self) -> BinaryIO:
        import fsspec

        try:
            if _is_pipe(self.path):  # fsspec wants files in which one can go back
                return self._closing.enter_context(Path(self.path).open("rb"))
            return cast(BinaryIO, self._closing.enter_context(fsspec.open(self.path, "rb")))
        except (OSError, ValueError, ImportError) as error:
            reason = str(getattr(error, "strerror", None) or error).rstrip(".")
            raise ClassifierError(f"{self.path!r} cannot be opened: {reason}. Check the path.") from None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def share_read(self) -> float | None:
        """Share of the file's bytes that was read, 0 to 1; None when its size is unknown."""
        return min(1.0, self._counted.count / self.size) if self.size else None

    @property
    def fingerprint(self) -> str:
        """Hash of the size and of the sample."""
        return hashlib.sha256(f"{self.size}:".encode() + self.sample).hexdigest()[:16]

    def seekable(self) -> BinaryIO:
        """All of its bytes in a file that can be read in any order, for formats that need it; on disk."""
        copy = tempfile.TemporaryFile()  # noqa: SIM115  closed with the source
        self._closing.enter_context(copy)
        shutil.copyfileobj(self.stream, copy)
        copy.seek(0)
        return cast(BinaryIO, copy)

    def format(self) -> str:
        """The format by content and name.

        Raises:
            ClassifierError: The content is none that can be read, or contradicts the name.
        """
        stem = self.name.lower().removesuffix(".gz")
        named = next((kind for ending, kind in ENDINGS.items() if stem.endswith(ending)), None)
        magic = next((kind for start, kind in MAGIC.items() if self.sample.startswith(start)), None)
        if magic not in (None, *ENDINGS.values()):
            raise ClassifierError(f"{self.name!r} is {magic}.")
        if magic is None:
            self._refuse_markup(named)
        if magic != named and (magic or named in ("xlsx", "parquet")):
            what = f"holds {magic} data" if magic else f"is no {named} file inside"
            if named or not magic:
                raise ClassifierError(f"{self.name!r} {what}; give it the ending of what it is, or export it again.")
        if named in ("csv", "text") and re.match(rb'(\xef\xbb\xbf)?\s*(\{\s*"|\[\s*\{)', self.sample):
            raise ClassifierError(f"{self.name!r} holds JSON; give it the ending .json or .jsonl, or export it again.")
        if magic or named:
            return magic or named or ""
        start = self.sample.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        return "json" if start == b"[" else "jsonl" if start == b"{" else "csv"

    def _refuse_markup(self, named: str | None) -> None:
        """Some exports called .xls are web pages; a message of a text file may begin with a tag."""
        start = self.sample[:1000].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml")) or (start.startswith(b"<table") and named != "text"):
            raise ClassifierError(
                f"{self.name!r} holds a web page or XML; open it in Excel and save it as CSV or .xlsx."
            )

    def encoding(self, chosen: str | None) -> str:
        """The encoding of a text, the chosen one if there is one.

        Raises:
            ClassifierError: There is no such encoding of texts, or the content is no text.
        """
        if chosen is not None:
            return given_encoding(chosen, self.sample)
        encoding = detect_encoding(self.sample)
        text = self.sample[: 1 << 16].decode(encoding, "replace")
        control = sum(ord(sign) < 32 and sign not in "\t\r\n\f\x1e\x1f\x01" for sign in text)
        if control > len(text) / 20:
            raise ClassifierError(f"{self.name!r} is no text, though its name says so; export it as CSV or .xlsx.")
        return encoding

    def text(self, encoding: str) -> io.TextIOWrapper:
        """All of it as text, line ends kept. Stray bytes in UTF-8 are read as cp1252, as mixed exports hold them."""
        errors = "classifier.cp1252" if encoding.startswith("utf-8") else "replace"
        return io.TextIOWrapper(self.stream, encoding=encoding, errors=errors, newline="")


def _is_pipe(path: str) -> bool:
    """Whether a path is a pipe or a device, such as /dev/stdin or what a shell writes for `<(zcat export.gz)`."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False  # also a URL
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _size(raw: Any) -> int | None:
    """Bytes of an opened file; None for pipes."""
    size = getattr(raw, "size", None)
    if isinstance(size, int):
        return size
    try:
        return raw.seek(0, io.SEEK_END) or None if raw.seekable() else None
    finally:
        if raw.seekable():
            raw.seek(0)
