"""The encoder's products, packed for the graph and quantised one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from .int8 import BlockProduct, Floats, Int8Scheme, QuantisedProduct, quantise_blocks, quantise_product
from .model import MultiTaskDistilBert
from .observe import Inputs

#: Quantised products by name.
Products = Mapping[str, QuantisedProduct | BlockProduct]


def layer_weights(block: Any) -> dict[str, tuple[Floats, Floats]]:
    """Weight, (inputs, outputs), and bias of each product of a transformer layer.

    Queries, keys and values share one input and become one product. The attention's scale, one over the
    root of a head's size, goes into the queries.
    """
    attention, ffn = block.attention, block.ffn
    scale = 1 / math.sqrt(attention.q_lin.out_features // attention.n_heads)

    def arrays(layer: nn.Linear, factor: float = 1.0) -> tuple[Floats, Floats]:
        weight, bias = layer.weight.detach() * factor, layer.bias.detach() * factor
        return weight.numpy().T, bias.numpy()

    packed = [arrays(attention.q_lin, scale), arrays(attention.k_lin), arrays(attention.v_lin)]
    return {
        "attention.qkv": (np.concatenate([w for w, _ in packed], 1), np.concatenate([b for _, b in packed])),
        "attention.out_lin": arrays(attention.out_lin),
        "ffn.lin1": arrays(ffn.lin1),
        "ffn.lin2": arrays(ffn.lin2),
    }


def quantise_encoder(
    model: MultiTaskDistilBert, scheme: Int8Scheme, inputs: Mapping[str, Inputs]
) -> dict[str, QuantisedProduct | BlockProduct]:
    """Quantise every product of the encoder; the keys are names such as ``"0.attention.qkv"``."""
    products: dict[str, QuantisedProduct | BlockProduct] = {}
    for number, block in enumerate(model.distilbert.transformer.layer):
        weights = layer_weights(block)
        if scheme.block:
            for name, (weight, bias) in weights.items():
                products[f"{number}.{name}"] = quantise_blocks(weight, bias, scheme.block)
            continue
        seen = {name: inputs[f"{number}.{name.replace('qkv', 'q_lin')}"].values() for name in weights}
        # Attention only mixes the tokens' values, so what multiplies its output can as well multiply the values.
        name = "attention.out_lin"
        after = quantise_product(seen[name], *weights.pop(name), scheme, free_multiplier=True)
        if after.multiplier is not None:
            weight, bias = weights["attention.qkv"]
            weight[:, -len(after.multiplier) :] *= after.multiplier
            bias[-len(after.multiplier) :] *= after.multiplier
        products[f"{number}.{name}"] = replace(after, multiplier=None)
        for name, (weight, bias) in weights.items():
            products[f"{number}.{name}"] = quantise_product(seen[name], weight, bias, scheme)
    return products
