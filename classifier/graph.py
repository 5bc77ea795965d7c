"""The model as an ONNX graph for ONNX Runtime, in float32 or int8.

The graph is written node by node instead of traced: DistilBERT is fixed and small, and the int8 scheme
needs a say over every matrix product. The operators are those that are fastest on CPUs, measured: on short
messages plain attention runs twice as fast as the fused operator, and Add + LayerNormalization six times as
fast as SkipLayerNormalization. Tokens are the first axis, since FusedMatMul can then read the heads where
they lie: queries, keys and values are never transposed, which saves a twentieth of the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .errors import ClassifierError
from .int8 import BlockProduct, Floats, Int8Scheme, quantise_columns
from .model import MultiTaskDistilBert
from .observe import observe, only_first
from .quantise import Products, layer_weights, quantise_encoder

_MICROSOFT = "com.microsoft"


class _Graph:
    """Collects nodes and constants; every call of `node` returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, op: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        output = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        if isinstance(value, Tensor):
            value = value.detach().cpu().numpy()
        name = name if "." in name else f"/{name}"  # a task may bear any name without signs
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(value, dtype=dtype, order="C"), name)
        return name


class _Encoder:
    """Writes the encoder's layers into a graph, each product in float or int8."""

    def __init__(self, graph: _Graph, model: MultiTaskDistilBert, products: Products) -> None:
        self.graph, self.products = graph, products
        self.heads, self.dim = model.config.n_heads, model.config.dim

    def layer(self, number: int, block: Any, x: str, mask: str, first: bool) -> str:
        """One transformer layer: self-attention and feed-forward, each followed by add and norm.

        With `first` only the first token's vector is computed, (1, batch, dim), from all tokens' keys and values.
        """
        graph = self.graph
        weights = {f"{number}.{name}": weight for name, weight in layer_weights(block).items()}
        attended = self._attention(number, x, mask, weights, first)
        x = self._first(x) if first else x
        x = self._add_and_norm(attended, x, f"{number}.sa", block.sa_layer_norm)
        inner = graph.node("Gelu", self._product(f"{number}.ffn.lin1", x, weights), domain=_MICROSOFT)
        outer = self._product(f"{number}.ffn.lin2", inner, weights)
        return self._add_and_norm(outer, x, f"{number}.output", block.output_layer_norm)

    def _attention(
        self, number: int, x: str, mask: str, weights: Mapping[str, tuple[Floats, Floats]], first: bool
    ) -> str:
        """Scaled dot-product attention over all heads and the product after it, (tokens or 1, batch, dim)."""
        graph = self.graph
        packed = self._product(f"{number}.attention.qkv", x, weights)
        shape = graph.constant("heads", [0, 0, 3 * self.heads, self.dim // self.heads], np.int64)
        query, key, value = (f"{number}.{part}" for part in ("query", "key", "value"))
        # (tokens, batch, heads, dim of a head) each; transBatchA and B read them as (batch, heads, tokens, dim).
        heads = graph.node("Reshape", packed, shape)
        graph.nodes.append(helper.make_node("Split", [heads], [query, key, value], axis=2))
        query = self._first(query) if first else query
        scores = graph.node("FusedMatMul", query, key, domain=_MICROSOFT, transBatchA=1, transBatchB=1, transB=1)
        shares = graph.node("Softmax", graph.node("Add", scores, mask), axis=-1)
        context = graph.node("FusedMatMul", shares, value, domain=_MICROSOFT, transBatchB=1)
        context = graph.node("Transpose", context, perm=[2, 0, 1, 3])
        context = graph.node("Reshape", context, graph.constant("joined", [0, 0, self.dim], np.int64))
        return self._product(f"{number}.attention.out_lin", context, weights)

    def _product(self, name: str, x: str, weights: Mapping[str, tuple[Floats, Floats]]) -> str:
        """X times the weight of that name, plus its bias."""
        graph, (weight, bias) = self.graph, weights[name]
        if name not in self.products:
            product = graph.node("MatMul", x, graph.constant(f"{name}.weight", weight))
            return graph.node("Add", product, graph.constant(f"{name}.bias", bias))
        own = self.products[name]
        if isinstance(own, BlockProduct):
            return self._block_product(name, x, own)
        levelled = x
        if own.multiplier is not None:
            levelled = graph.node("Mul", x, graph.constant(f"{name}.multiplier", own.multiplier))
        quantised, scale, zero = (f"{name}.{part}" for part in ("quantised", "scale", "zero"))
        if not own.static:
            graph.nodes.append(helper.make_node("DynamicQuantizeLinear", [levelled], [quantised, scale, zero]))
        else:
            graph.constant(scale, own.scale)
            graph.constant(zero, own.zero, np.uint8)
            graph.node("QuantizeLinear", levelled, scale, zero, output=quantised)
        output = graph.node(
            "MatMulIntegerToFloat",
            quantised,
            graph.constant(f"{name}.weight", own.weight, np.int8),
            scale,
            graph.constant(f"{name}.scales", own.scales),
            zero,
            "",
            graph.constant(f"{name}.bias", own.bias),
            domain=_MICROSOFT,
        )
        if not len(own.outliers):
            return output
        wide = graph.node("Gather", x, graph.constant(f"{name}.outliers", own.outliers, np.int64), axis=2)
        wide = graph.node("MatMul", wide, graph.constant(f"{name}.outlier_weight", own.outlier_weight))
        return graph.node("Add", output, wide)

    def _block_product(self, name: str, x: str, own: BlockProduct) -> str:
        outputs, blocks, block = own.weight.shape
        product = self.graph.node(
            "MatMulNBits",
            x,
            self.graph.constant(f"{name}.weight", own.weight, np.uint8),
            self.graph.constant(f"{name}.scales", own.scales),
            domain=_MICROSOFT,
            K=blocks * block,
            N=outputs,
            bits=8,
            block_size=block,
            accuracy_level=4,  # products in int8, not in float
        )
        return self.graph.node("Add", product, self.graph.constant(f"{name}.bias", own.bias))

    def _first(self, x: str) -> str:
        """Only the first token, (1, ...)."""
        return self.graph.node("Gather", x, self.graph.constant("first_only", [0], np.int64), axis=0)

    def _add_and_norm(self, x: str, skip: str, name: str, norm: nn.LayerNorm) -> str:
        return _layer_norm(self.graph, self.graph.node("Add", x, skip), name, norm)


def _layer_norm(graph: _Graph, x: str, name: str, norm: nn.LayerNorm) -> str:
    gamma, beta = graph.constant(f"{name}.gamma", norm.weight), graph.constant(f"{name}.beta", norm.bias)
    return graph.node("LayerNormalization", x, gamma, beta, epsilon=norm.eps, axis=-1)


def _embed(graph: _Graph, model: MultiTaskDistilBert, int8: bool) -> str:
    """Word plus position embeddings, normalised: (tokens, batch, dim)."""
    embeddings = model.distilbert.embeddings
    words = embeddings.word_embeddings.weight.detach().numpy()
    ids = graph.node("Transpose", "input_ids", perm=[1, 0])
    if int8:
        values, scales = quantise_columns(words.T)
        table = graph.node("Gather", graph.constant("words", values.T, np.int8), ids)
        scale = graph.node("Gather", graph.constant("words.scales", scales[:, None]), ids)
        x = graph.node("Mul", graph.node("Cast", table, to=TensorProto.FLOAT), scale)
    else:
        x = graph.node("Gather", graph.constant("words", words), ids)
    length = graph.node("Shape", "input_ids", start=1, end=2)
    positions = graph.constant("positions", embeddings.position_embeddings.weight.unsqueeze(1))
    zero = graph.constant("zero", [0], np.int64)
    x = graph.node("Add", x, graph.node("Slice", positions, zero, length, zero))
    return _layer_norm(graph, x, "embeddings", embeddings.LayerNorm)


def _attention_mask(graph: _Graph) -> str:
    """0 for tokens and a large negative number for padding, (batch, 1, 1, tokens)."""
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = graph.node("Unsqueeze", mask, graph.constant("inner", [1, 2], np.int64))
    missing = graph.node("Sub", mask, graph.constant("present", 1.0))
    return graph.node("Mul", missing, graph.constant("large", 1e9))


def _pool(graph: _Graph, model: MultiTaskDistilBert, x: str) -> None:
    """The graph's output ``"pooled"``, (batch, dim)."""
    if model.config.pooling == "first":
        graph.node("Gather", x, graph.constant("first", 0, np.int64), output="pooled", axis=0)
        return
    mask = graph.node("Cast", graph.node("Transpose", "attention_mask", perm=[1, 0]), to=TensorProto.FLOAT)
    mask = graph.node("Unsqueeze", mask, graph.constant("last", [-1], np.int64))
    axis = graph.constant("tokens", [0], np.int64)
    total = graph.node("ReduceSum", graph.node("Mul", x, mask), axis, keepdims=0)
    graph.node("Div", total, graph.node("ReduceSum", mask, axis, keepdims=0), output="pooled")


def build_onnx(
    model: MultiTaskDistilBert,
    scheme: Int8Scheme | None = None,
    samples: Sequence[tuple[Tensor, Tensor]] = (),
    metadata: Mapping[str, Any] | None = None,
) -> onnx.ModelProto:
    """Write the model as an ONNX graph for ONNX Runtime.

    Inputs are ``input_ids`` and ``attention_mask``, int64, (batch, tokens); outputs are ``pooled``,
    (batch, dim), and the logits of each head under its name, (batch, labels).

    Args:
        model: A model with GELU activation.
        scheme: How to quantise, or None for float32.
        samples: Batches of (input_ids, attention_mask) of typical messages; int8 needs some.
        metadata: Plain data that the file carries along, for instance the order of the labels.

    Raises:
        ClassifierError: The activation is not GELU, or int8 was asked for without samples.
    """
    if model.config.activation != "gelu":
        raise ClassifierError(f"The encoder's activation is {model.config.activation!r}; only 'gelu' is exported.")
    if scheme is not None and not samples:
        raise ClassifierError("int8 needs sample messages to find the ranges of the activations; none were given.")
    model = model.eval()
    products = {} if scheme is None else quantise_encoder(model, scheme, observe(model, samples))
    graph = _Graph()
    encoder = _Encoder(graph, model, products)
    x, mask = _embed(graph, model, int8=scheme is not None), _attention_mask(graph)
    for number, block in enumerate(model.distilbert.transformer.layer):
        x = encoder.layer(number, block, x, mask, first=only_first(model, number))
    _pool(graph, model, x)
    for name, head in model.heads.items():
        weight, bias = graph.constant(f"{name}.weight", head.weight), graph.constant(f"{name}.bias", head.bias)
        graph.node("Gemm", "pooled", weight, bias, output=name, transB=1)
    return _proto(graph, model, metadata or {})


def _proto(graph: _Graph, model: MultiTaskDistilBert, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    def tensor(name: str, dtype: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, dtype, shape)

    inputs = [tensor(name, TensorProto.INT64, "batch", "tokens") for name in ("input_ids", "attention_mask")]
    outputs = [tensor("pooled", TensorProto.FLOAT, "batch", model.config.dim)]
    outputs += [tensor(name, TensorProto.FLOAT, "batch", model.config.heads[name]) for name in model.heads]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "multi_task_distilbert", inputs, outputs, list(graph.constants.values())),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)],
        ir_version=8,
    )
    helper.set_model_props(proto, {key: json.dumps(value) for key, value in metadata.items()})
    return proto
