"""Encodings: the one that a text is in, by its first bytes or by what a person says."""

from __future__ import annotations

import codecs
import re
import unicodedata
from string import ascii_lowercase

from .errors import ClassifierError

#: Encodings that exports come in when they are neither UTF-8 nor UTF-16.
CODE_PAGES = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r",
    "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip

#: Marks at the beginning of a text, longer ones first, and the encodings that read over them.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

#: A special sign inside of a word, but for those that join words, and what letters are there without their accents.
_INSIDE, _SMALL = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f’–—…](?=[a-z])"), frozenset(ascii_lowercase + "ßæœøłđð")


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("classifier.cp1252", _as_cp1252)


def given_encoding(given: str, sample: bytes) -> str:
    """The encoding that a person asked for, as Python names it; the mark of a text never becomes part of it.

    Raises:
        ClassifierError: There is none of that name, or it encodes no texts, as base64 does.
    """
    try:
        "a".encode(given)
        codecs.getincrementaldecoder(given)("replace").decode(b"a")
    except (LookupError, ValueError):
        raise ClassifierError(f"There is no encoding {given!r} of texts; use for instance utf-8 or cp1252.") from None
    name, marked = codecs.lookup(given).name, _marked(sample)
    if marked and (name.startswith(marked) or marked.startswith(name)):  # utf-16-le is utf-16 with a mark
        return marked
    return f"{name}-le" if name in ("utf-16", "utf-32") else name  # which ask for a mark


def _marked(sample: bytes) -> str | None:
    return next((name for mark, name in _MARKS.items() if sample.startswith(mark)), None)


def detect_encoding(sample: bytes) -> str:
    """The encoding of a text by its first bytes: marks, then UTF-16 without mark, UTF-8, statistics, cp1252."""
    if marked := _marked(sample):
        return marked
    half = len(sample) / 2
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > 0.4 * half and min(even, odd) < 0.1 * half:
        return "utf-16-le" if odd > even else "utf-16-be"
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
    wrong, right = text.count("\ufffd"), sum(sign > "\x7f" for sign in text) if not sample.isascii() else 0
    if wrong == 0 or right - wrong > 10 * wrong:
        return "utf-8"
    telling = b"\n".join(dict.fromkeys(line for line in sample.splitlines() if not line.isascii()))
    if len(telling) > 1 << 16:  # whole lines, so that no sign is cut
        telling = telling[: 1 << 16].rpartition(b"\n")[0] or telling[: 1 << 16]
    if _is_japanese(telling):
        return "cp932"
    page = _most_likely_page(telling)
    # In pages of two bytes a sign the second may be a letter; cp932 is only a guess here, as no kana were found.
    return page if page in ("euc_jp", "gb18030", "big5", "cp949") else _dos_or_mac(telling) or page


def _most_likely_page(telling: bytes) -> str:
    """The most likely of the code pages, by statistics."""
    from charset_normalizer import from_bytes

    best, *others = from_bytes(telling, cp_isolation=list(CODE_PAGES)) or [None]
    # Pages that read the sample alike are one match, those of neighbours differ in a few signs only: the most
    # frequent page, unless another is clearly better.
    western = next((match for match in (best, *others) if match and "cp1252" in match.could_be_from_charset), None)
    if best is None or (western and western.chaos < best.chaos + 0.2 and western.coherence > best.coherence - 0.15):
        return "cp1252"
    return best.encoding


def _is_japanese(telling: bytes) -> bool:
    """Whether a third of the signs are kana, as only text in cp932 read as such shows them."""
    signs = [sign for sign in telling.decode("cp932", "replace") if sign > "\x7f"]
    kana = sum("\u3040" <= sign <= "\u30ff" for sign in signs)
    return kana * 3 >= len(signs) and signs.count("\ufffd") * 50 <= len(signs)


def _dos_or_mac(telling: bytes) -> str | None:
    """One of these pages if it reads signs inside of words as small letters, which cp1252 does not."""

    def odd(page: str) -> tuple[int, int]:
        inside = _INSIDE.findall(telling.decode(page, "replace"))
        return sum(unicodedata.normalize("NFD", sign)[0] not in _SMALL for sign in inside), len(inside)

    wrong, signs = odd("cp1252")
    special = sum(byte > 0x7F for byte in telling)  # few stand inside of words where two bytes make a sign
    if wrong < 2 or wrong * 2 <= signs or signs * 5 < special:
        return None
    wrong, signs, page = min((*odd(page), page) for page in ("cp850", "mac_roman"))
    return page if wrong * 10 <= signs else None
