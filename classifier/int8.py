"""The int8 scheme: how each matrix product of the encoder is quantised so that answers stay the same.

Plain per-tensor int8 loses one label in twenty, because a handful of channels of DistilBERT's activations
are up to a hundred times larger than the rest and take the whole range for themselves. Three things are
done about it, all of them fixed at export, so that a message's answer never depends on its batch:

- A few channels with the widest range stay in float (Dettmers et al. 2022, arXiv:2208.07339, with the
  channels chosen once from sample messages).
- The ranges of the others are levelled by moving scale from activations into weights (SmoothQuant, Xiao
  et al. 2023, arXiv:2211.10438).
- Weights are rounded one input at a time, the error of each made up for by those after it (GPTQ, Frantar
  et al. 2023, arXiv:2210.17323).

The first two cost time whenever the model runs, so each product gets the least of them that its error on
sample messages allows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Token vectors of the samples that a product's error is measured on.
_ERROR_ROWS = 1024

#: A product's error is small enough when it is no more than this share of its output, or near the least that
#: any candidate reaches.
_SMALL, _NEAR = 0.015, 1.2

#: Rows that GPTQ rounds before it updates all the others.
_BLOCK = 64


@dataclass(frozen=True)
class Int8Scheme:
    """How the encoder's products are quantised; the heads always stay in float.

    Weights are int8, symmetric. Activations are uint8, one scale and zero point per product.

    Attributes:
        static: Activation ranges fixed from sample messages. Otherwise they are taken from each batch, and
            a message's answer depends on the batch it stands in.
        smoothing: SmoothQuant's alpha, from 0 (activations keep their ranges) to 1 (all of it goes into the
            weights); None is off.
        outliers: How many input channels of a product stay in float. Of several of these and of `smoothing`,
            each product takes the cheapest pair whose error is small.
        compensate: Round weights so that their errors cancel on the samples.
        per_channel: One weight scale per output channel instead of one per matrix.
        block: Other than 0, all of the above is off: weights get one scale per so many inputs of a channel,
            and the runtime quantises each token vector's blocks by themselves (ONNX Runtime's MatMulNBits).
    """

    static: bool = True
    smoothing: tuple[float | None, ...] = (None, 0.8, 0.9)
    outliers: tuple[int, ...] = (0, 1, 2, 4, 8)
    compensate: bool = True
    per_channel: bool = True
    block: int = 0


@dataclass(frozen=True)
class BlockProduct:
    """One product whose weights are int8 in blocks of inputs.

    Attributes:
        weight: uint8 around 128, (outputs, blocks, inputs of a block).
        scales: (outputs, blocks).
        bias: (outputs,).
    """

    weight: NDArray[np.uint8]
    scales: Floats
    bias: Floats


@dataclass(frozen=True)
class QuantisedProduct:
    """One product ``x @ w + bias``, ready to be written into a graph.

    It is ``dequantise(quantise(x * multiplier)) @ (weight * scales) + x[outliers] @ outlier_weight + bias``.

    Attributes:
        multiplier: (inputs,), 1 for outliers; None where it would be all 1.
        scale: Activation scale.
        zero: Activation zero point, 0 to 255.
        static: Whether scale and zero point hold for all messages, or are taken from each batch.
        weight: int8, (inputs, outputs); rows of outliers are 0.
        scales: (outputs,).
        outliers: Channels that stay in float, (k,).
        outlier_weight: (k, outputs).
        bias: (outputs,).
    """

    multiplier: Floats | None
    scale: float
    zero: int
    static: bool
    weight: NDArray[np.int8]
    scales: Floats
    outliers: NDArray[np.int64]
    outlier_weight: Floats
    bias: Floats

    def outputs(self, inputs: Floats) -> Floats:
        """What the quantised product gives for token vectors, (tokens, inputs), at the fixed ranges."""
        levelled = inputs if self.multiplier is None else inputs * self.multiplier
        steps = np.clip(np.round(levelled / self.scale) + self.zero, 0, 255) - self.zero
        wide = inputs[:, self.outliers] @ self.outlier_weight
        return (steps * self.scale) @ (self.weight * self.scales) + wide + self.bias

    @property
    def cost(self) -> int:
        """Numbers per token that multiplier and outliers touch, beyond the int8 product itself."""
        outliers, outputs = self.outlier_weight.shape
        return (0 if self.multiplier is None else len(self.weight)) + (outputs * (2 + outliers // 2) if outliers else 0)

    def error(self, inputs: Floats, weight: Floats) -> float:
        """Root mean square of the error against the exact product with a float weight, (inputs, outputs)."""
        return float(np.sqrt(((inputs @ weight + self.bias - self.outputs(inputs)) ** 2).mean()))


def quantise_columns(weight: Floats, per_channel: bool = True) -> tuple[NDArray[np.int8], Floats]:
    """Symmetric int8 per output channel; weight is (inputs, outputs), scales are (outputs,)."""
    top = np.abs(weight).max(0 if per_channel else None, keepdims=True)
    scales = np.maximum(top, 1e-12) / 127
    values = np.round(weight / scales).astype(np.int8)
    return values, np.broadcast_to(scales, (1, weight.shape[1]))[0].astype(np.float32)


def quantise_blocks(weight: Floats, bias: Floats, block: int) -> BlockProduct:
    """Symmetric int8 per block of inputs of each output channel; weight is (inputs, outputs)."""
    blocks = weight.T.reshape(weight.shape[1], -1, block)
    scales = np.maximum(np.abs(blocks).max(2), 1e-12) / 127
    return BlockProduct((np.round(blocks / scales[:, :, None]) + 128).astype(np.uint8), scales, bias)


def quantise_product(
    inputs: Floats, weight: Floats, bias: Floats, scheme: Int8Scheme, *, free_multiplier: bool = False
) -> QuantisedProduct:
    """Quantise one product in the cheapest way of the scheme whose error is small.

    Args:
        inputs: Token vectors that sample messages put into the product, (tokens, inputs).
        weight: (inputs, outputs); of several layers side by side where they share an input.
        bias: (outputs,).
        scheme: What to do.
        free_multiplier: Whether the multiplier costs nothing, since the product before takes it over.
    """
    seen = inputs[np.linspace(0, len(inputs) - 1, min(_ERROR_ROWS, len(inputs))).astype(int)]
    pairs = itertools.product(scheme.outliers, scheme.smoothing)
    candidates = [_candidate(inputs, weight, bias, scheme, alpha, count) for count, alpha in pairs]
    errors = [found.error(seen, weight) for found in candidates]
    output = float(np.sqrt(((seen @ weight + bias) ** 2).mean()))
    enough = max(_SMALL * output, _NEAR * min(errors))

    def rank(number: int) -> tuple[float, float]:
        found = candidates[number]
        free = len(weight) if free_multiplier and found.multiplier is not None else 0
        return (found.cost - free if errors[number] <= enough else math.inf, errors[number])

    best = candidates[min(range(len(candidates)), key=rank)]
    if not scheme.compensate:
        return best
    factor = np.ones(len(weight), np.float32) if best.multiplier is None else best.multiplier
    kept = np.ones(len(weight), np.float32)
    kept[best.outliers] = 0
    levelled = weight * (kept / factor)[:, None]
    return replace(best, weight=_compensated(levelled, best.scales, inputs * (kept * factor)))


def _candidate(
    inputs: Floats, weight: Floats, bias: Floats, scheme: Int8Scheme, alpha: float | None, count: int
) -> QuantisedProduct:
    low, high = np.minimum(inputs.min(0), 0), np.maximum(inputs.max(0), 0)
    outliers = np.sort(np.argsort(low - high)[:count]).astype(np.int64)
    outlier_weight, weight = weight[outliers], weight.copy()
    # What is quantised of an outlier is cut off at the others' range, and counts for nothing.
    weight[outliers], low[outliers], high[outliers] = 0, 0, 0
    factor = np.ones(len(weight), np.float32)
    if alpha is not None:
        level = np.maximum(-low, high).clip(1e-5) ** alpha / np.abs(weight).max(1).clip(1e-5) ** (1 - alpha)
        factor = (np.exp(np.log(level).mean()) / level).astype(np.float32)
        factor[outliers] = 1
    bottom, top = float((low * factor).min()), float((high * factor).max())
    scale = max(top - bottom, 1e-12) / 255
    values, scales = quantise_columns(weight / factor[:, None], scheme.per_channel)
    return QuantisedProduct(
        multiplier=None if alpha is None else factor,
        scale=scale,
        zero=int(np.clip(round(-bottom / scale), 0, 255)),
        static=scheme.static,
        weight=values,
        scales=scales,
        outliers=outliers,
        outlier_weight=outlier_weight,
        bias=bias.astype(np.float32),
    )


def _compensated(weight: Floats, scales: Floats, inputs: Floats) -> NDArray[np.int8]:
    """Round row by row, each row's error made up for by the rows after it (GPTQ, arXiv:2210.17323).

    Args:
        weight: (inputs, outputs).
        scales: (outputs,).
        inputs: Token vectors that the weight is multiplied with, (tokens, inputs).
    """
    rest, values = weight.astype(np.float32, copy=True), np.zeros(weight.shape, np.int8)
    hessian = (inputs.T @ inputs).astype(np.float64) / len(inputs)
    # Damping, as in the paper: inputs that are nearly dependent must not make the inverse explode.
    hessian += np.eye(len(hessian)) * (0.01 * np.trace(hessian) / len(hessian) + 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T.astype(np.float32)
    # Within a block row by row; what follows the block is made up for at once, by one product, as in the paper.
    for start in range(0, len(rest), _BLOCK):
        end = min(start + _BLOCK, len(rest))
        errors = np.zeros((end - start, rest.shape[1]), np.float32)
        for row in range(start, end):
            values[row] = np.clip(np.round(rest[row] / scales), -127, 127)
            errors[row - start] = (rest[row] - values[row] * scales) / upper[row, row]
            rest[row + 1 : end] -= np.outer(upper[row, row + 1 : end], errors[row - start])
        rest[end:] -= upper[start:end, end:].T @ errors
    return values
