"""How much of the machine a model reaches: its share of the matrix-multiply peak, and its time by operator."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .predict import Classifier


def peak_share(classifier: Classifier, texts: Sequence[str], seconds: float) -> dict[str, float]:
    """The encoder's multiplications per second against what this machine reaches on one big product.

    Args:
        classifier: The model.
        texts: The messages.
        seconds: Time of one message.
    """
    config = classifier.folder.config
    dim, hidden, layers = config["dim"], config["hidden_dim"], config["n_layers"]
    tokens = np.array([result.tokens for result in classifier.classify_many(texts)], float)
    weights = layers * (4 * dim * dim + 2 * dim * hidden)
    attention = layers * 2 * dim * (tokens**2).mean()
    needed = 2 * (tokens.mean() * weights + attention)  # a multiplication and an addition each
    rate = needed / seconds
    report = {
        "mean_tokens": round(float(tokens.mean()), 2),
        "gigaflop_per_message": round(needed / 1e9, 4),
        "reached_gigaflops": round(rate / 1e9, 1),
    }
    if find_spec("onnx"):
        kinds = {"int8": True, "float32": False}
        peaks = {kind: matmul_peak(int8, classifier.threads) for kind, int8 in kinds.items()}
        report |= {f"{kind}_peak_gigaflops": round(peak / 1e9, 1) for kind, peak in peaks.items()}
        report |= {f"share_of_{kind}_peak": round(rate / peak, 3) for kind, peak in peaks.items()}
    return report


def matmul_peak(int8: bool, threads: int, size: int = 1024, repeats: int = 20) -> float:
    """Operations per second of big matrix products in ONNX Runtime, one on each thread, the best of some.

    Args:
        int8: Whether to multiply bytes as the quantised model does, else float32.
        threads: Products at a time.
        size: Rows and columns of the matrices.
        repeats: Products of each thread.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    kind, dtype = (TensorProto.UINT8, np.uint8) if int8 else (TensorProto.FLOAT, np.float32)
    weight = np.random.default_rng(0).integers(-100, 100, (size, size)).astype(np.int8 if int8 else np.float32)
    constants = [numpy_helper.from_array(weight, "weight")]
    node = helper.make_node("MatMul", ["x", "weight"], ["y"])
    if int8:
        constants.append(numpy_helper.from_array(np.array(0.01, np.float32), "scale"))
        inputs = ["x", "weight", "scale", "scale"]
        node = helper.make_node("MatMulIntegerToFloat", inputs, ["y"], domain="com.microsoft")
    x, y = (helper.make_tensor_value_info(name, type, (size, size)) for name, type in (("x", kind), ("y", 1)))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "product", [x], [y], constants)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    feed = {"x": np.ones((size, size), dtype)}

    def fastest(_: int) -> float:
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            session.run(None, feed)
            times.append(time.perf_counter() - started)
        return 2 * size**3 / min(times)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(fastest, range(threads)))


def operator_shares(classifier: Classifier, texts: Sequence[str]) -> dict[str, float]:
    """Share of the model's time by operator, largest first, from ONNX Runtime's profiler on one core.

    Args:
        classifier: The model.
        texts: The messages.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        path, _ = classifier.folder.onnx_file(classifier.model["backend"])
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for feed in classifier._reader.read(texts, return_errors=True).feeds():
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: round(time / spent.total(), 3) for name, time in spent.most_common(8)}
