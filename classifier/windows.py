"""Windows of messages, which are sorted by length and cut into batches for the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from .errors import ClassifierError

#: Messages that `classify_many` sorts by length together; it reads at most two such windows ahead.
#: A window of long messages is shorter, so that stopping takes effect within seconds.
WINDOW, WINDOW_CHARACTERS = 2048, 1 << 18

#: Tokens, padding included, of one run of the model in a batch. The activations of so many stay in a
#: core's cache: over 1,024 a message costs a third more time, under 256 the overhead of a run shows.
BATCH_TOKENS = 512


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
