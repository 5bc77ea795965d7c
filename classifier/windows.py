"""Messages become tokens, in windows that are sorted by length and cut into batches for the model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from .errors import ClassifierError
from .folder import TOKENIZER, WORDS
from .spelling import Spelling

#: Messages that `classify_many` sorts by length together; it reads at most two such windows ahead.
#: A window of long messages is shorter, so that stopping takes effect within seconds.
WINDOW, WINDOW_CHARACTERS = 2048, 1 << 18

#: Tokens, padding included, of one run of the model in a batch. The activations of so many stay in a
#: core's cache: over 1,024 a message costs a third more time, under 256 the overhead of a run shows.
BATCH_TOKENS = 512

#: Characters of a message that are looked at, per token of the model's limit. A word of over 100
#: characters is one unknown token for BERT's tokenizer, so no token that counts is lost.
MOST_CHARACTERS_PER_TOKEN = 100

#: [CLS] and [SEP], which every encoding has.
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class Window:
    """Messages that are sorted and run together.

    Attributes:
        texts: The messages, in their order, (n,).
        ordered: The distinct ones that can be read, the longest in tokens first, (m,).
        encodings: Their tokens, (m,).
        cut: Whether the model reads only their beginning, (m,).
        errors: Position in `texts` to what is wrong there.
        tokenize_seconds: Time to tokenize, per message.
    """

    texts: Sequence[str]
    ordered: Sequence[str]
    encodings: Sequence[Encoding]
    cut: Sequence[bool]
    errors: Mapping[int, ClassifierError]
    tokenize_seconds: float

    def feeds(self, most: int = BATCH_TOKENS) -> Iterator[dict[str, NDArray[np.int64]]]:
        """Inputs of the model for each batch of `encodings`, (batch, tokens), at most `most` tokens each.

        Batches of the longest messages come first, so that no core waits long for the last one.
        """
        ids = [encoding.ids for encoding in self.encodings]
        lengths = list(map(len, ids))
        start = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or lengths[start] * (end + 1 - start) > most:
                real = np.arange(lengths[start]) < np.array(lengths[start:end])[:, None]
                input_ids = np.zeros(real.shape, np.int64)
                input_ids[real] = np.fromiter(chain.from_iterable(ids[start:end]), np.int64)
                yield {"input_ids": input_ids, "attention_mask": real.astype(np.int64)}
                start = end


class Reader:
    """Reads messages as a model's tokens, slips of the pen mended.

    Args:
        folder: The model folder; without words in it no spelling is mended.
        max_tokens: The model's limit; what is longer is cut.

    Raises:
        ClassifierError: The tokenizer or the words cannot be read.
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        path = folder / TOKENIZER
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ClassifierError(f"The tokenizer {str(path)!r} cannot be read: {error}.") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._limit = max_tokens * MOST_CHARACTERS_PER_TOKEN
        self._spelling, words = Spelling(), folder / WORDS
        if words.is_file():
            # What lies behind so many words is not read.
            self._spelling = Spelling.from_file(words, self._tokenizer.get_vocab(), most=max_tokens)

    def read(self, texts: Sequence[str], *, return_errors: bool = False) -> Window:
        """Tokenize messages, each distinct one once.

        Args:
            texts: The messages, at least one.
            return_errors: Keep the errors of messages that cannot be read in the window, instead of raising the first.

        Raises:
            ClassifierError: A message is no string, or holds nothing to read.
        """
        started = time.perf_counter()
        clean: dict[str, str] = {}
        errors: dict[int, ClassifierError] = {}
        for index, text in enumerate(texts):
            try:
                if not isinstance(text, str) or text not in clean:
                    clean[text] = self._clean(text)
            except ClassifierError as error:
                errors[index] = error
        mended = list(map(self._spelling.correct, clean.values()))
        encodings = self._tokenizer.encode_batch_fast(mended) if clean else []
        found = {
            text: encoding for text, encoding in zip(clean, encodings, strict=True) if len(encoding) > SPECIAL_TOKENS
        }
        for index, text in enumerate(texts):
            if index not in errors and text not in found:
                errors[index] = ClassifierError(f"The message {text[:40]!r} holds nothing to read; write a few words.")
        if errors and not return_errors:
            raise errors[min(errors)]
        ordered = sorted(found, key=lambda text: len(found[text]), reverse=True)
        cut = [len(text) > len(clean[text]) or bool(found[text].overflowing) for text in ordered]
        seconds = (time.perf_counter() - started) / len(texts)
        return Window(texts, ordered, [found[text] for text in ordered], cut, errors, seconds)

    def part_read(self, text: str) -> str:
        """The beginning of a message that the model reads, or all of it."""
        clean = self._clean(text)
        encoding = self._tokenizer.encode(self._spelling.correct(clean))
        if not encoding.overflowing and clean == text:
            return text
        end = max(end for _, end in encoding.offsets)
        for start, stop, word in self._spelling.slips(clean):
            if start >= end:
                break
            end -= len(word) - (stop - start)  # the mended word may be longer or shorter
        return text[:end]

    def slips(self, text: str) -> list[tuple[str, str]]:
        """Words that are read as others, each with what it is read as."""
        clean = self._clean(text)
        return [(clean[start:stop], word) for start, stop, word in self._spelling.slips(clean)]

    def _clean(self, text: str) -> str:
        """The message as the tokenizer can take it, cut where the model's limit is surely passed."""
        if not isinstance(text, str):
            raise ClassifierError(f"A message is {type(text).__name__} ({text!r:.40}); expected a string.")
        # Lone surrogates are no text and cannot be encoded; '?' stands for each.
        return text[: self._limit].encode("utf-8", "replace").decode("utf-8")


def windows(texts: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive messages, at most WINDOW, and no more behind the one that passes WINDOW_CHARACTERS."""
    window: list[str] = []
    characters = 0
    for text in texts:
        window.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if len(window) == WINDOW or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window
