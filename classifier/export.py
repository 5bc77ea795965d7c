"""Export to ONNX: the model as one graph of ONNX Runtime's fused operators, in float32 or int8.

The graph is written node by node instead of traced: DistilBERT is fixed and small, ONNX Runtime's
optimizer no longer recognises the attention that current exporters emit, and the int8 scheme below needs
a say over every matrix product. `verify` compares the result with the torch model, head by head.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from torch import Tensor, nn

from .errors import ClassifierError
from .folder import CALIBRATION, FORMAT, ONNX_FLOAT, ONNX_INT8, POLICY, TOKENIZER, write_json
from .model import MultiTaskDistilBert
from .routing import Policy
from .tasks import TaskSet

_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Int8Scheme:
    """How the matrix products of the encoder are quantised; the heads always stay in float.

    Weights are int8, symmetric, one scale per output channel. Activations are uint8, one scale per
    product: `static` scales come from sample messages, so that a message's answer doesn't depend on the
    batch it stands in; dynamic ones are taken from each batch.

    Attributes:
        static: Fixed activation ranges, from sample messages.
        smoothing: SmoothQuant's alpha (Xiao et al. 2023, arXiv:2211.10438): 0 leaves the range of
            outlier channels to the activations, 1 moves all of it into the weights. None: off.
        coverage: Share of the sampled activations that static ranges must hold; the rest is clipped.
        float_products: Products that stay in float32, such as ``"5.ffn.lin2"`` (layer, part).
    """

    static: bool = True
    smoothing: float | None = 0.85
    coverage: float = 1.0
    float_products: frozenset[str] = frozenset()


@dataclass
class _Range:
    """What sample messages put into one linear layer: values for percentiles, and per-channel maxima."""

    values: list[Tensor] = field(default_factory=list)
    channel_max: Tensor | None = None

    def add(self, inputs: Tensor, keep: int = 4096) -> None:
        flat = inputs.reshape(-1, inputs.shape[-1])
        top = flat.abs().amax(0)
        self.channel_max = top if self.channel_max is None else torch.maximum(self.channel_max, top)
        self.values.append(flat[torch.randperm(len(flat))[:keep]])


@contextmanager
def _observed(model: MultiTaskDistilBert) -> Iterator[dict[str, _Range]]:
    """Record the inputs of every linear layer of the encoder, by name, while the block runs."""
    ranges: dict[str, _Range] = {}
    handles = []
    for name, module in model.distilbert.transformer.named_modules():
        if isinstance(module, nn.Linear):
            record = ranges.setdefault(name.removeprefix("layer."), _Range())
            handles.append(module.register_forward_pre_hook(lambda _m, args, record=record: record.add(args[0])))
    try:
        yield ranges
    finally:
        for handle in handles:
            handle.remove()


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
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name


def _quantise_columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 per output channel; weight is (inputs, outputs), scales are (outputs,)."""
    scale = np.maximum(np.abs(weight).max(0), 1e-12) / 127
    return np.round(weight / scale).astype(np.int8), scale.astype(np.float32)


class _Encoder:
    """Writes the encoder's layers into a graph, each product in float or int8 as the scheme says."""

    def __init__(self, graph: _Graph, scheme: Int8Scheme | None, ranges: dict[str, _Range]) -> None:
        self.graph, self.scheme, self.ranges = graph, scheme, ranges

    def products(self, x: str, layers: dict[str, nn.Linear]) -> list[str]:
        """X times the weight of each of the layers that share this input; biases are left to the caller.

        Args:
            x: Name of the input, (batch, tokens, inputs).
            layers: Name of each linear layer, such as ``"0.attention.q_lin"``, and the layer.
        """
        graph, scheme = self.graph, self.scheme
        weights = {name: layer.weight.detach().numpy().T for name, layer in layers.items()}
        if scheme is None or scheme.float_products & layers.keys():
            return [graph.node("MatMul", x, graph.constant(f"{name}.weight", w)) for name, w in weights.items()]
        first = next(iter(layers))
        if scheme.smoothing is not None:
            x, smooth = self._smooth(x, first, np.concatenate(list(weights.values()), axis=1), scheme.smoothing)
            weights = {name: w * smooth[:, None] for name, w in weights.items()}
        else:
            smooth = np.ones(next(iter(weights.values())).shape[0], np.float32)
        if scheme.static:
            scale, zero = self._static_range(first, smooth, scheme.coverage)
            quantised = graph.node("QuantizeLinear", x, scale, zero)
        else:
            quantised, scale, zero = (f"{first}.{part}" for part in ("quantised", "scale", "zero"))
            graph.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], [quantised, scale, zero]))
        outputs = []
        for name, weight in weights.items():
            values, scales = _quantise_columns(weight)
            w, s = graph.constant(f"{name}.weight", values, np.int8), graph.constant(f"{name}.scales", scales)
            outputs.append(graph.node("MatMulIntegerToFloat", quantised, w, scale, s, zero, domain=_MICROSOFT))
        return outputs

    def _smooth(self, x: str, name: str, weight: np.ndarray, alpha: float) -> tuple[str, np.ndarray]:
        channel_max = self.ranges[name].channel_max
        assert channel_max is not None
        activation, rows = channel_max.numpy(), np.abs(weight).max(1)
        smooth = np.clip(activation, 1e-5, None) ** alpha / np.clip(rows, 1e-5, None) ** (1 - alpha)
        smooth /= np.exp(np.log(smooth).mean())
        return self.graph.node("Mul", x, self.graph.constant(f"{name}.smooth", 1 / smooth)), smooth

    def _static_range(self, name: str, smooth: np.ndarray, coverage: float) -> tuple[str, str]:
        values = torch.cat(self.ranges[name].values).numpy() / smooth
        low, high = np.quantile(values, [1 - coverage, coverage])
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        scale = max(high - low, 1e-12) / 255
        zero = np.clip(round(-low / scale), 0, 255)
        return self.graph.constant(f"{name}.scale", scale), self.graph.constant(f"{name}.zero", zero, np.uint8)

    def layer(self, number: int, block: nn.Module, x: str, mask: str, heads: int) -> str:
        """One transformer layer: self-attention and feed-forward, each followed by add and norm."""
        graph, parts = self.graph, dict(block.named_modules())

        def linear(*names: str) -> dict[str, nn.Linear]:
            return {f"{number}.{name}": parts[name] for name in names}

        def bias(*names: str) -> str:
            return graph.constant(f"{number}.{names[0]}.bias", torch.cat([parts[name].bias for name in names]))

        def add_and_norm(x: str, skip: str, norm: str, product: str) -> str:
            gamma = graph.constant(f"{number}.{norm}.weight", parts[norm].weight)
            beta = graph.constant(f"{number}.{norm}.bias", parts[norm].bias)
            return graph.node(
                "SkipLayerNormalization", x, skip, gamma, beta, bias(product), domain=_MICROSOFT, epsilon=1e-12
            )

        names = ("attention.q_lin", "attention.k_lin", "attention.v_lin")
        attention = graph.node(
            "MultiHeadAttention",
            *self.products(x, linear(*names)),
            bias(*names),
            mask,
            domain=_MICROSOFT,
            num_heads=heads,
        )
        (context,) = self.products(attention, linear("attention.out_lin"))
        x = add_and_norm(context, x, "sa_layer_norm", "attention.out_lin")
        (inner,) = self.products(x, linear("ffn.lin1"))
        inner = graph.node("BiasGelu", inner, bias("ffn.lin1"), domain=_MICROSOFT)
        (outer,) = self.products(inner, linear("ffn.lin2"))
        return add_and_norm(outer, x, "output_layer_norm", "ffn.lin2")


def _embed(graph: _Graph, model: MultiTaskDistilBert, int8: bool) -> str:
    """Word plus position embeddings, normalised: (batch, tokens, dim)."""
    embeddings = model.distilbert.embeddings
    words = embeddings.word_embeddings.weight.detach().numpy()
    if int8:
        values, scales = _quantise_columns(words.T)
        table = graph.node("Gather", graph.constant("words", values.T, np.int8), "input_ids")
        scale = graph.node("Gather", graph.constant("words.scales", scales[:, None]), "input_ids")
        x = graph.node("Mul", graph.node("Cast", table, to=TensorProto.FLOAT), scale)
    else:
        x = graph.node("Gather", graph.constant("words", words), "input_ids")
    length = graph.node("Shape", "input_ids", start=1, end=2)
    positions = graph.constant("positions", embeddings.position_embeddings.weight.unsqueeze(0))
    zero, one = graph.constant("zero", [0], np.int64), graph.constant("one", [1], np.int64)
    norm = embeddings.LayerNorm
    return graph.node(
        "SkipLayerNormalization",
        x,
        graph.node("Slice", positions, zero, length, one),
        graph.constant("embeddings.norm.weight", norm.weight),
        graph.constant("embeddings.norm.bias", norm.bias),
        domain=_MICROSOFT,
        epsilon=1e-12,
    )


def _pool(graph: _Graph, model: MultiTaskDistilBert, x: str) -> None:
    """The graph's output ``"pooled"``, (batch, dim)."""
    if model.config.pooling == "first":
        graph.node("Gather", x, graph.constant("first", 0, np.int64), output="pooled", axis=1)
        return
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = graph.node("Unsqueeze", mask, graph.constant("last", [-1], np.int64))
    axis = graph.constant("one", [1], np.int64)
    total = graph.node("ReduceSum", graph.node("Mul", x, mask), axis, keepdims=0)
    graph.node("Div", total, graph.node("ReduceSum", mask, axis, keepdims=0), output="pooled")


def build_onnx(
    model: MultiTaskDistilBert,
    scheme: Int8Scheme | None = None,
    samples: Sequence[tuple[Tensor, Tensor]] = (),
    metadata: dict[str, Any] | None = None,
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
    with torch.inference_mode(), _observed(model) as ranges:
        for input_ids, attention_mask in samples:
            # Without padding, so that the ranges are those of real tokens only.
            for ids, mask in zip(input_ids, attention_mask, strict=True):
                model(ids[mask.bool()][None], mask[mask.bool()][None])
    graph = _Graph()
    encoder = _Encoder(graph, scheme, ranges)
    x = _embed(graph, model, int8=scheme is not None)
    mask = graph.node("Cast", "attention_mask", to=TensorProto.INT32)
    for number, block in enumerate(model.distilbert.transformer.layer):
        x = encoder.layer(number, block, x, mask, model.config.n_heads)
    _pool(graph, model, x)
    for name, head in model.heads.items():
        weight, bias = graph.constant(f"{name}.weight", head.weight), graph.constant(f"{name}.bias", head.bias)
        graph.node("Gemm", "pooled", weight, bias, output=name, transB=1)

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
    helper.set_model_props(proto, {key: json.dumps(value) for key, value in (metadata or {}).items()})
    return proto


def write_model_folder(
    path: str | Path,
    model: MultiTaskDistilBert,
    tasks: TaskSet,
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    samples: Sequence[str],
    scheme: Int8Scheme | None = None,
    temperatures: Mapping[str, float] | None = None,
    data_hash: str | None = None,
    float_onnx: bool = False,
) -> Path:
    """Write everything that serving needs. Heads that are no task of the set stay out.

    Args:
        path: The folder to write.
        model: The trained model.
        tasks: The task set that the folder answers.
        tokenizer: The tokenizer of the encoder.
        max_tokens: Longest input in tokens.
        samples: Typical messages, for the ranges of the int8 activations.
        scheme: How to quantise; the default scheme if None.
        temperatures: Per task, from calibration; 1 where none is given.
        data_hash: Identifies the training data.
        float_onnx: Also write the float32 ONNX file.

    Returns:
        The folder.
    """
    path = Path(path)
    (path / "onnx").mkdir(parents=True, exist_ok=True)
    model.heads = nn.ModuleDict({name: model.heads[name] for name in tasks.task_names})
    model.config.heads = {task.name: len(task.labels) for task in tasks.tasks}
    model.config.update(
        {
            "format": FORMAT,
            "task_set": tasks.to_dict(),
            "max_tokens": max_tokens,
            "data_hash": data_hash,
            "libraries": {name: version(name) for name in ("torch", "transformers", "tokenizers", "onnx")},
        }
    )
    model.save_pretrained(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    tokenizer.save(str(path / TOKENIZER))
    write_json(path / CALIBRATION, {"temperatures": dict(temperatures or {})})
    write_json(path / POLICY, Policy.for_tasks(tasks).to_dict())
    metadata = {"format": FORMAT, "task_set": tasks.to_dict(), "max_tokens": max_tokens}
    batches = [_tensors(tokenizer, samples[i : i + 32]) for i in range(0, len(samples), 32)]
    onnx.save(build_onnx(model, scheme or Int8Scheme(), batches, metadata), path / ONNX_INT8)
    if float_onnx:
        onnx.save(build_onnx(model, metadata=metadata), path / ONNX_FLOAT)
    return path


def _tensors(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of messages, padded to the longest, (batch, tokens) each."""
    encodings = tokenizer.encode_batch_fast(list(texts))
    ids = [torch.tensor(encoding.ids) for encoding in encodings]
    mask = [torch.ones(len(row), dtype=torch.long) for row in ids]
    pad = nn.utils.rnn.pad_sequence
    return pad(ids, batch_first=True), pad(mask, batch_first=True)
