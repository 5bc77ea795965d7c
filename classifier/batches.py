"""Batches: what every step of a run sees, as a pure function of data, settings and step.

Nothing here keeps state, so a run that was killed continues with the very batches it would have seen, and
any number of processes cut the same global batch into their parts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from .errors import ClassifierError
from .examples import Examples, noisy_copy
from .settings import TrainSettings
from .tasks import TaskSet


@dataclass(frozen=True)
class Batch:
    """A padded batch.

    Attributes:
        input_ids: (rows, tokens).
        attention_mask: 1 for tokens, 0 for padding, (rows, tokens).
        labels: Task to label indices, (rows,), MISSING where a row has none.
        weights: How much each row counts, (rows,).
        soft: Task to the teachers' probabilities, (rows, labels); empty without teachers.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: dict[str, Tensor]
    weights: Tensor
    soft: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            {task: values.to(device) for task, values in self.labels.items()},
            self.weights.to(device),
            {task: values.to(device) for task, values in self.soft.items()},
        )


class Epoch:
    """The batches of one epoch: noise, order and grouping by length.

    Args:
        examples: The training data.
        tasks: The task set, for the noise's tones.
        tokenizer: Truncates to the longest input.
        settings: The run's settings.
        number: Which epoch, from 0.
    """

    def __init__(
        self, examples: Examples, tasks: TaskSet, tokenizer: Tokenizer, settings: TrainSettings, number: int
    ) -> None:
        seed = f"{settings.seed}/{number}"
        if settings.noise is not None:
            examples = noisy_copy(examples, tasks, seed=seed, settings=settings.noise)
        self.examples = examples
        self.token_ids = encode(tokenizer, examples.texts)
        self.steps = plan([len(ids) for ids in self.token_ids], settings.batch_size, seed, settings.group_lengths)

    def __len__(self) -> int:
        return len(self.steps)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """One part of the batch of a step; the parts together hold each row once.

        Args:
            step: Which step of the epoch.
            part: Which part, under `parts`.
            parts: Into how many the batch is cut: processes times accumulation.
        """
        rows = self.steps[step][part::parts]
        input_ids, attention_mask = pad([self.token_ids[row] for row in rows])
        return Batch(
            input_ids,
            attention_mask,
            {task: torch.from_numpy(values[rows]) for task, values in self.examples.labels.items()},
            torch.from_numpy(self.examples.row_weights[rows]),
            {task: torch.from_numpy(values[rows]) for task, values in self.examples.soft.items()},
        )


def plan(lengths: Sequence[int], size: int, seed: str, group_lengths: bool) -> list[list[int]]:
    """Which rows stand in which batch of an epoch.

    Rows are shuffled; what doesn't fill the last batch waits for another epoch, so that all steps weigh the
    same. Within each stretch of 32 batches rows are sorted by length, then the batches are shuffled.

    Args:
        lengths: Tokens of each row.
        size: Rows per batch.
        seed: Fixes the order.
        group_lengths: Whether to sort by length.
    """
    rng = random.Random(seed)
    rows = list(range(len(lengths)))
    rng.shuffle(rows)
    if len(rows) > size:
        rows = rows[: len(rows) // size * size]
    if not group_lengths:
        return [rows[start : start + size] for start in range(0, len(rows), size)]
    stretch = 32 * size
    batches = []
    for start in range(0, len(rows), stretch):
        ordered = sorted(rows[start : start + stretch], key=lambda row: lengths[row])
        batches += [ordered[at : at + size] for at in range(0, len(ordered), size)]
    rng.shuffle(batches)
    return batches


def load_tokenizer(base: str, revision: str, max_tokens: int) -> Tokenizer:
    """The tokenizer of an encoder, set to truncate.

    Args:
        base: A folder or Hub repository.
        revision: Commit, tag or branch of a Hub repository.
        max_tokens: Longest input, the special tokens included.

    Raises:
        ClassifierError: There is none.
    """
    file = Path(base) / "tokenizer.json"
    if file.is_file():
        tokenizer = Tokenizer.from_file(str(file))
    else:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(base, revision=revision).backend_tokenizer
        except (OSError, ValueError, AttributeError) as error:
            raise ClassifierError(
                f"{base!r} has no fast tokenizer; expected tokenizer.json beside the encoder ({error})."
            ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[NDArray[np.int32]]:
    """Token ids of each message, without padding."""
    ids: list[NDArray[np.int32]] = []
    for start in range(0, len(texts), 4096):
        encodings = tokenizer.encode_batch_fast(list(texts[start : start + 4096]))
        ids += [np.array(encoding.ids, np.int32) for encoding in encodings]
    return ids


def pad(token_ids: Sequence[NDArray[np.int32]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, padded to the longest, (rows, tokens) each."""
    longest = max(len(ids) for ids in token_ids)
    input_ids = torch.zeros(len(token_ids), longest, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(token_ids):
        input_ids[row, : len(ids)] = torch.from_numpy(ids)
        attention_mask[row, : len(ids)] = 1
    return input_ids, attention_mask


def padded(tokenizer: Tokenizer, texts: Sequence[str], size: int = 32) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and attention masks of messages, in batches of so many."""
    for start in range(0, len(texts), size):
        yield pad(encode(tokenizer, texts[start : start + size]))
