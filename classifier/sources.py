"""Bytes in: a path, URL or pipe as one stream, decompressed, within limits, with its format and encoding detected."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import re
import shutil
import sys
import tempfile
import zlib
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

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


#: Encodings that exports come in when they are neither UTF-8 nor UTF-16.
CODE_PAGES = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r",
    "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip


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
            return cast(BinaryIO, self._closing.enter_context(fsspec.open(self.path, "rb")))
        except (OSError, ValueError, ImportError) as error:
            reason = getattr(error, "strerror", None) or error
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

    def encoding(self, chosen: str | None) -> str:
        """The encoding of a text, the chosen one if there is one.

        Raises:
            ClassifierError: There is no encoding of that name, or the content is no text.
        """
        if chosen is not None:
            try:
                return codecs.lookup(chosen).name
            except LookupError:
                raise ClassifierError(f"There is no encoding {chosen!r}; use for instance utf-8 or cp1252.") from None
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


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("classifier.cp1252", _as_cp1252)


def detect_encoding(sample: bytes) -> str:
    """The encoding of a text by its first bytes: marks, then UTF-16 without mark, UTF-8, statistics, cp1252."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if sample.startswith(mark):
            return name
    half = len(sample) / 2
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > 0.4 * half and min(even, odd) < 0.1 * half:
        return "utf-16-le" if odd > even else "utf-16-be"
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
    wrong, right = text.count("\ufffd"), sum(sign > "\x7f" for sign in text) if not sample.isascii() else 0
    if wrong == 0 or right - wrong > 10 * wrong:
        return "utf-8"
    from charset_normalizer import from_bytes

    telling = b"\n".join(dict.fromkeys(line for line in sample.splitlines() if not line.isascii()))[: 1 << 16]
    best, *others = from_bytes(telling, cp_isolation=list(CODE_PAGES)) or [None]
    # Pages that read the sample alike are one match, those of neighbours differ in a few signs only: the most
    # frequent page, unless another is clearly better.
    western = next((match for match in (best, *others) if match and "cp1252" in match.could_be_from_charset), None)
    if best is None or (western and western.chaos < best.chaos + 0.2 and western.coherence > best.coherence - 0.15):
        return "cp1252"
    return best.encoding
