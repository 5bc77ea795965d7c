"""The int8 scheme: how each matrix product of the encoder is quantised so that answers stay the same.

Plain per-tensor int8 loses one label in twenty, because a handful of channels of DistilBERT's activations
are up to a hundred times larger than the rest and take the whole range for themselves. Three things are
done about it, all of them fixed at export, so that a message's answer never depends on its batch:

- The few channels with the widest range stay in float (Dettmers et al. 2022, arXiv:2208.07339, with the
  channels chosen once from sample messages): a product over 8 of 384 channels costs next to nothing.
- The ranges of the others are levelled by moving scale from activations into weights (SmoothQuant, Xiao
  et al. 2023, arXiv:2211.10438); how much is searched per product for the least output error on samples.
- What error is left has its mean over the samples folded into the bias (Nagel et al. 2019,
  arXiv:1906.04721).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .model import MultiTaskDistilBert

Floats = NDArray[np.float32]

#: Token vectors of the samples that a product's error is measured on.
_ERROR_ROWS = 1024


@dataclass(frozen=True)
class Int8Scheme:
    """How the encoder's products are quantised; the heads always stay in float.

    Weights are int8, symmetric, one scale per output channel. Activations are uint8, one scale and zero
    point per product.

    Attributes:
        static: Activation ranges fixed from sample messages. Otherwise they are taken from each batch, and
            a message's answer depends on the batch it stands in.
        smoothing: SmoothQuant's alpha, from 0 (activations keep their ranges) to 1 (all of it goes into the
            weights); with several, each product takes the one with the least error. None: off.
        outliers: Input channels of each product that stay in float.
        correct_bias: Fold the mean error of the samples into the bias.
        per_channel: One weight scale per output channel instead of one per matrix.
    """

    static: bool = True
    smoothing: tuple[float, ...] | None = (0.7, 0.8, 0.9, 1.0)
    outliers: int = 8
    correct_bias: bool = True
    per_channel: bool = True


@dataclass(frozen=True)
class QuantisedProduct:
    """One product ``x @ weight + bias``, ready to be written into a graph.

    The product is ``dequantise(quantise(x * multiplier)) @ (weight * scales) + x[outliers] @ outlier_weight + bias``.

    Attributes:
        multiplier: (inputs,), or None where nothing is smoothed.
        scale: Activation scale, None when it is taken from each batch.
        zero: Activation zero point, 0 to 255.
        weight: int8, (inputs, outputs); rows of outliers are 0.
        scales: (outputs,).
        outliers: Channels that stay in float, (k,).
        outlier_weight: (k, outputs).
        bias: (outputs,).
        alpha: The smoothing that was chosen.
        error: Root mean square of the error of the samples' outputs, relative to their standard deviation.
    """

    multiplier: Floats | None
    scale: float | None
    zero: int
    weight: NDArray[np.int8]
    scales: Floats
    outliers: NDArray[np.int64]
    outlier_weight: Floats
    bias: Floats
    alpha: float | None
    error: float


@dataclass
class Inputs:
    """What sample messages put into one linear layer."""

    _rows: list[Tensor] = field(default_factory=list)

    def add(self, inputs: Tensor) -> None:
        """Keep token vectors, (..., inputs)."""
        self._rows.append(inputs.reshape(-1, inputs.shape[-1]))

    def values(self) -> Floats:
        """All token vectors, (tokens, inputs)."""
        return torch.cat(self._rows).numpy()


@contextmanager
def _observed(model: MultiTaskDistilBert) -> Iterator[dict[str, Inputs]]:
    """Record the inputs of every linear layer of the encoder, by name, while the block runs."""
    records: dict[str, Inputs] = {}
    handles = []
    for name, module in model.distilbert.transformer.named_modules():
        if isinstance(module, nn.Linear):
            record = records.setdefault(name.removeprefix("layer."), Inputs())
            handles.append(module.register_forward_pre_hook(lambda _m, args, record=record: record.add(args[0])))
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
        Inputs by layer name, such as ``"0.attention.q_lin"``, of real tokens only.
    """
    with torch.inference_mode(), _observed(model) as records:
        for input_ids, attention_mask in samples:
            for ids, mask in zip(input_ids, attention_mask.bool(), strict=True):
                model(ids[mask][None], torch.ones_like(ids[mask])[None])
    return records


def quantise_columns(weight: Floats, per_channel: bool = True) -> tuple[NDArray[np.int8], Floats]:
    """Symmetric int8 per output channel; weight is (inputs, outputs), scales are (outputs,)."""
    top = np.abs(weight).max(0 if per_channel else None, keepdims=True)
    scales = np.maximum(top, 1e-12) / 127
    values = np.round(weight / scales).astype(np.int8)
    return values, np.broadcast_to(scales, (1, weight.shape[1]))[0].astype(np.float32)


def quantise_product(inputs: Floats, weight: Floats, bias: Floats, scheme: Int8Scheme) -> QuantisedProduct:
    """Quantise one product with the smoothing that errs least on the samples.

    Args:
        inputs: Token vectors that sample messages put into the product, (tokens, inputs).
        weight: (inputs, outputs); of several layers side by side where they share an input.
        bias: (outputs,).
        scheme: What to do.
    """
    alphas: tuple[float | None, ...] = scheme.smoothing or (None,)
    return min((_candidate(inputs, weight, bias, scheme, alpha) for alpha in alphas), key=lambda found: found.error)


def _candidate(
    inputs: Floats, weight: Floats, bias: Floats, scheme: Int8Scheme, alpha: float | None
) -> QuantisedProduct:
    low, high = np.minimum(inputs.min(0), 0), np.maximum(inputs.max(0), 0)
    outliers = np.sort(np.argsort(low - high)[: scheme.outliers]).astype(np.int64)
    kept = np.ones(len(weight), np.float32)
    kept[outliers] = 0
    multiplier = kept if scheme.outliers else None
    if alpha is not None:
        top, rows = np.maximum(-low, high).clip(1e-5), np.abs(weight).max(1).clip(1e-5)
        level = top**alpha / rows ** (1 - alpha)
        multiplier = (kept / level * np.exp(np.log(level).mean())).astype(np.float32)
    factor = np.ones_like(kept) if multiplier is None else multiplier
    values, scales = quantise_columns(
        np.divide(weight, factor[:, None], out=np.zeros_like(weight), where=factor[:, None] > 0), scheme.per_channel
    )
    bottom, top_ = float((low * factor).min()), float((high * factor).max())
    scale = max(top_ - bottom, 1e-12) / 255
    zero = int(np.clip(round(-bottom / scale), 0, 255))
    found = inputs[np.linspace(0, len(inputs) - 1, min(_ERROR_ROWS, len(inputs))).astype(int)]
    exact = found @ weight
    steps = np.clip(np.round(found * factor / scale) + zero, 0, 255) - zero
    error = exact - (steps * scale) @ (values * scales) - found[:, outliers] @ weight[outliers]
    mean = error.mean(0) if scheme.correct_bias else np.zeros_like(bias)
    return QuantisedProduct(
        multiplier=multiplier,
        scale=scale if scheme.static else None,
        zero=zero,
        weight=values,
        scales=scales,
        outliers=outliers,
        outlier_weight=weight[outliers],
        bias=(bias + mean).astype(np.float32),
        alpha=alpha,
        error=float(np.sqrt(((error - mean) ** 2).mean()) / max(exact.std(0).mean(), 1e-12)),
    )
