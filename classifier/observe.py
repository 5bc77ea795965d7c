"""What sample messages put into each product of the encoder: the ranges that int8 is fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .model import MultiTaskDistilBert


@dataclass
class Inputs:
    """What sample messages put into one linear layer."""

    _rows: list[Tensor] = field(default_factory=list)

    def add(self, inputs: Tensor) -> None:
        """Keep token vectors, (..., inputs)."""
        self._rows.append(inputs.reshape(-1, inputs.shape[-1]))

    def values(self) -> NDArray[np.float32]:
        """All token vectors, (tokens, inputs)."""
        return torch.cat(self._rows).numpy()


def only_first(model: MultiTaskDistilBert, layer: int) -> bool:
    """Whether nothing but the first token's vector is used of what a layer gives."""
    return model.config.pooling == "first" and layer == model.config.n_layers - 1


@contextmanager
def _observed(model: MultiTaskDistilBert) -> Iterator[dict[str, Inputs]]:
    """Record the inputs of every linear layer of the encoder, by name, while the block runs."""
    records: dict[str, Inputs] = {}
    handles = []
    for name, module in model.distilbert.transformer.named_modules():
        if isinstance(module, nn.Linear):
            name = name.removeprefix("layer.")
            record = records.setdefault(name, Inputs())
            all_tokens = name.endswith(("q_lin", "k_lin", "v_lin")) or not only_first(model, int(name.split(".")[0]))
            used = slice(None if all_tokens else 1)
            handles.append(
                module.register_forward_pre_hook(
                    lambda _m, args, record=record, used=used: record.add(args[0][:, used])
                )
            )
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def observe(model: MultiTaskDistilBert, samples: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Inputs]:
    """Run sample messages and record what enters each linear layer.

    Args:
        model: The model, in evaluation mode.
        samples: Batches of (input_ids, attention_mask), (batch, tokens) each.

    Returns:
        Inputs by layer name, such as ``"0.attention.q_lin"``, of real tokens only, and of those whose output
        is used.
    """
    with torch.inference_mode(), _observed(model) as records:
        for input_ids, attention_mask in samples:
            for ids, mask in zip(input_ids, attention_mask.bool(), strict=True):
                model(ids[mask][None], torch.ones_like(ids[mask])[None])
    return records
