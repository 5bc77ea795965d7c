"""Spelling: a word that the model never met, one slip away from one that it learned, is read as that one.

A typo breaks a word into pieces that mean nothing to the encoder. Candidates are generated as in Norvig 2007 ("How to
Write a Spelling Corrector", norvig.com/spell-correct.html), but only words of the training messages are offered, and
words of a dictionary, of the tokenizer, names, codes and addresses stay as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from .errors import ClassifierError
from .folder import read_json

#: How often a word stands in the training messages before others are read as it.
_LEARNED = 5

#: Least share of the messages' words that a dictionary of their language knows.
_OF_THIS_LANGUAGE = 0.75

#: Letters of the words that are looked at. Shorter ones have too many neighbours; the time grows with the length.
_SHORTEST, _LONGEST = 4, 20

#: Words, but for parts of addresses, names of accounts, hashtags, codes, and what stands before "n't" or "'s".
_WORD = re.compile(rf"(?<![\w@#&/.-])[^\W\d_]{{{_SHORTEST},{_LONGEST}}}(?![\w@/]|[.'’-]\w)")

_RUN, _DOUBLE = re.compile(r"(.)\1{2,}"), re.compile(r"(.)\1")

#: How much less likely a wrong letter is than a swapped one: neighbours on the keyboard are most of the wrong ones.
_RARE = 8


class Spelling:
    """Corrects messages with the words of a model folder.

    Args:
        learned: Words that others may be read as, the most frequent first, in small letters. Without any, nothing is
            corrected.
        others: Words of a dictionary that stay as they are.
        vocabulary: The tokenizer's words, which the encoder knows from its pretraining; they stay too.
        most: Words of a message that are looked at.
    """

    def __init__(
        self,
        learned: Sequence[str] = (),
        others: Sequence[str] = (),
        vocabulary: Iterable[str] = (),
        most: int | None = None,
    ) -> None:
        self._most = most
        self._longest = max(map(len, learned), default=0)
        self._rank = {word: place for place, word in enumerate(learned)}
        self._known = frozenset(learned).union(others, vocabulary)
        self._letters = "".join(sorted(set("".join(learned))))
        # Customers repeat each other's words, right and wrong ones.
        self._meant = lru_cache(maxsize=1 << 16)(self._search)

    @classmethod
    def from_file(cls, path: Path, vocabulary: Iterable[str], most: int | None = None) -> Spelling:
        """Read the words of a model folder.

        Args:
            path: The file, of what `collect_words` found.
            vocabulary: The tokenizer's words.
            most: Words of a message that are looked at.

        Raises:
            ClassifierError: The file is damaged.
        """
        found = read_json(path)
        learned: Any = found.get("learned")
        others: Any = found.get("others")
        if not all(
            isinstance(words, list) and all(isinstance(word, str) for word in words) for words in (learned, others)
        ):
            raise ClassifierError(
                f"{str(path)!r} holds no lists of words `learned` and `others`; train or download the model again."
            )
        return cls(learned, others, vocabulary, most)

    def correct(self, text: str) -> str:
        """The message with its slips mended."""
        # Nearly all messages end here: no word is new.
        if not self._rank or self._known.issuperset(map(str.lower, _WORD.findall(text))):
            return text
        parts, end = [], 0
        for start, stop, word in self.slips(text):
            parts += [text[end:start], word]
            end = stop
        return "".join([*parts, text[end:]])

    def slips(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where the message is read otherwise: start, end, and what is read there, in the same case."""
        for found in islice(_WORD.finditer(text), self._most):
            word = found[0]
            if word.istitle() and not _starts_sentence(text, found.start()):
                continue  # a name
            meant = self._meant(word.lower())
            if meant is not None:
                cased = meant.upper() if word.isupper() else meant.title() if word.istitle() else meant
                yield found.start(), found.end(), cased

    def _search(self, word: str) -> str | None:
        """The learned word that this one most likely is, None if it stays."""
        if word in self._known:
            return None
        for shorter in (_RUN.sub(r"\1\1", word), _RUN.sub(r"\1", word)):  # "soooo good", "helllp"
            if shorter != word and shorter in self._rank:
                return shorter
        if len(word) > self._longest + 1:
            return None
        near = [slip for slip in one_slip(word, self._letters) if slip in self._rank]
        # A word's frequency falls about as its rank grows (Zipf's law).
        return min(near, key=lambda meant: (self._rank[meant] + 1) * _surprise(word, meant), default=None)


def _surprise(word: str, meant: str) -> int:
    """How much less likely this slip is than a common one, roughly.

    Swapped, missing and doubled letters are each one of few slips that a word can have; a wrong or additional letter is
    one of 25 (after the noisy channel of Kernighan, Church and Gale 1990, aclanthology.org/C90-2036). The first letter
    is seldom wrong (Yannakoudakis and Fawthrop 1983, doi:10.1016/0306-4573(83)90045-6).
    """
    swapped, missing = sorted(meant) == sorted(word), len(meant) > len(word)
    doubled = _DOUBLE.sub(r"\1", meant) == _DOUBLE.sub(r"\1", word)
    kind = 1 if swapped or missing or doubled else _RARE
    return kind if meant[0] == word[0] else kind * _RARE


def one_slip(word: str, letters: str) -> Iterator[str]:
    """What one slip makes of a word: a letter missing, swapped with the next, another, or one too many."""
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    yield from (left + right[1:] for left, right in cuts if right)
    yield from (left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1)
    yield from (left + letter + right[1:] for left, right in cuts if right for letter in letters)
    yield from (left + letter + right for left, right in cuts for letter in letters)


def collect_words(texts: Iterable[str], language: str) -> dict[str, list[str]] | None:
    """The words of training messages, and those of a dictionary that could be mistaken for slips of them.

    Args:
        texts: The messages.
        language: Their language, as in `TrainSettings.spelling`.

    Returns:
        ``learned`` and ``others``, as `Spelling` takes them; None when the messages are of another language, whose
        words would be taken for slips.

    Raises:
        ClassifierError: The package of the dictionaries is not installed.
    """
    written = Counter(word for text in texts for word in _WORD.findall(text))
    counts: Counter[str] = Counter()
    for word, count in written.items():
        counts[word.lower()] += count
    known = _dictionary(language)
    if sum(count for word, count in counts.items() if word in known) < _OF_THIS_LANGUAGE * sum(counts.values()):
        return None
    # What is always written with a capital and stands in no dictionary is a name: the list goes where the model goes.
    learned = [word for word, count in counts.most_common() if count >= _LEARNED and (word in known or written[word])]
    letters = "".join(sorted(set().union(*learned, *known)))
    others = {slip for word in learned for slip in one_slip(word, letters) if slip in known}
    return {"learned": learned, "others": sorted(others.difference(learned))}


def check_dictionary() -> None:
    """Make sure that the dictionaries are installed; raises ClassifierError when they are not."""
    if find_spec("spellchecker") is None:
        raise ClassifierError(
            "Serving mends spelling with the dictionaries of pyspellchecker, which is not installed; install "
            "requirements-train.txt, or train with --spelling none."
        )


def _dictionary(language: str) -> frozenset[str]:
    """Words of a language in small letters, short forms also without their apostrophe."""
    check_dictionary()
    from spellchecker import SpellChecker  # only training needs it

    words = SpellChecker(language=language, distance=1).word_frequency.words()
    return frozenset(form for word in words for form in (word, word.replace("'", "")))


def _starts_sentence(text: str, place: int) -> bool:
    before = text[:place].rstrip()
    return not before or before[-1] in ".!?:\n" or "\n" in text[len(before) : place]
