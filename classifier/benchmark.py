"""Speed, side by side: ways to answer the same messages with the same weights, in turn within one run."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ClassifierError
from .predict import Classifier

#: Labels of each message, in the order of the tasks.
Answers = list[tuple[str, ...]]


@dataclass(frozen=True)
class Speed:
    """What one way of answering reached.

    Attributes:
        name: What it does.
        messages_per_second: Median over the rounds.
        median_ms: Median wall-clock time of a message: of single calls for the single way, else of the
            rounds, each divided by its messages.
        cpu_ms: Median processor time of a message, over all cores; hardly moved by other work on the machine.
        ratio: Messages per second, compared with the first way of the table.
        label_agreement: Share of (message, task) with the same label as the first way of the table.
    """

    name: str
    messages_per_second: float
    median_ms: float
    cpu_ms: float
    ratio: float
    label_agreement: float


def run_benchmark(
    classifier: Classifier, texts: Sequence[str], *, weights: str | None = None, rounds: int = 3
) -> dict[str, Any]:
    """Measure every way on the same messages, in an order that rotates from round to round.

    Args:
        classifier: The model; its `threads` is the number of threads of every way.
        texts: The messages.
        weights: A model folder with the float weights of the same model, for the ways in torch; without
            it, and without torch, these are left out.
        rounds: Rounds, after one short warm-up.

    Returns:
        ``model``, ``messages``, ``rounds``, ``threads``, ``speeds`` (a list of `Speed` as dictionaries),
        ``single_ms_while_a_file_runs`` (median), ``peak``
        (share of the matrix-multiply peaks, where onnx is installed) and ``operators`` (share of the model's time).

    Raises:
        ClassifierError: There are no messages, or the weights cannot be used.
    """
    if not texts:
        raise ClassifierError("There are no messages to measure with; give a file with some.")
    single_ms: list[float] = []
    ways: dict[str, Callable[[Sequence[str]], Answers]] = {
        **(_torch_ways(classifier, weights) if weights else {}),
        "one message at a time": lambda some: _one_by_one(classifier, some, single_ms),
        "classify_many": lambda some: [tuple(result.labels.values()) for result in classifier.classify_many(some)],
        "score, CSV to CSV": lambda some: _score(classifier, some),
    }
    answers = {name: way(texts[:64]) for name, way in ways.items()}
    single_ms.clear()
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            started, busy = time.perf_counter(), time.process_time()
            answers[name] = ways[name](texts)
            wall[name].append((time.perf_counter() - started) / len(texts))
            cpu[name].append((time.process_time() - busy) / len(texts))
        order = order[1:] + order[:1]
    first = next(iter(ways))
    seconds = {name: statistics.median(values) for name, values in wall.items()}
    speeds = [
        Speed(
            name=name,
            messages_per_second=round(1 / seconds[name], 1),
            median_ms=round(
                statistics.median(single_ms) if name == "one message at a time" else 1000 * seconds[name], 3
            ),
            cpu_ms=round(1000 * statistics.median(cpu[name]), 3),
            ratio=round(seconds[first] / seconds[name], 2),
            label_agreement=round(float(np.mean(np.array(answers[name]) == np.array(answers[first]))), 4),
        )
        for name in ways
    ]
    return {
        "model": classifier.model,
        "messages": len(texts),
        "rounds": rounds,
        "threads": classifier.threads,
        "speeds": [asdict(speed) for speed in speeds],
        "single_ms_while_a_file_runs": round(single_while_busy(classifier, texts), 3),
        "peak": _peak_share(classifier, texts, seconds["classify_many"]),
        "operators": operator_shares(classifier, texts[:512]),
    }


def _one_by_one(classifier: Classifier, texts: Sequence[str], milliseconds: list[float]) -> Answers:
    found = []
    for text in texts:
        started = time.perf_counter()
        # Without the fragility check, as the other ways answer.
        found.append(tuple(classifier.classify(text, check_fragile=False).labels.values()))
        milliseconds.append(1000 * (time.perf_counter() - started))
    return found


def single_while_busy(classifier: Classifier, texts: Sequence[str], calls: int = 100) -> float:
    """Median milliseconds of single messages while a file is being scored on all cores.

    Args:
        classifier: The model.
        texts: The messages, of the file and of the single calls.
        calls: Single calls to measure.
    """
    started, ended = threading.Event(), threading.Event()

    def endless() -> Iterator[str]:
        for text in cycle(texts):
            if ended.is_set():
                return
            yield text

    def score() -> None:
        for _ in classifier.classify_many(endless()):
            started.set()

    file = threading.Thread(target=score)
    file.start()
    try:
        started.wait()
        milliseconds: list[float] = []
        _one_by_one(classifier, list(islice(cycle(texts), calls)), milliseconds)
    finally:
        ended.set()
        file.join()
    return statistics.median(milliseconds)


def _score(classifier: Classifier, texts: Sequence[str]) -> Answers:
    """From a CSV file to a scored CSV file, reading and writing included."""
    from .rows import open_table
    from .score import ScoreOptions, score_file
    from .writers import write_table

    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.csv", f"{folder}/out.csv"
        write_table(["text"], lambda: iter([[text] for text in texts]), source)
        for _ in score_file(classifier, source, target, ScoreOptions(text_column="text")):
            pass
        with open_table(target, text_column="text") as scored:
            at = [scored.columns.index(task) for task in classifier.tasks.task_names]
            return [tuple(row.cells[column] for column in at) for row in scored]


def _torch_ways(classifier: Classifier, weights: str) -> dict[str, Callable[[Sequence[str]], Answers]]:
    """The same weights in eager float32 torch: padded to 128 in batches of 32, and sorted without much padding."""
    try:
        import torch

        from .model import MultiTaskDistilBert
    except ImportError:
        raise ClassifierError(
            "--weights needs torch and transformers; install requirements-train.txt, or leave it out."
        ) from None
    from tokenizers import Tokenizer

    torch.set_num_threads(classifier.threads)
    try:
        model: Any = MultiTaskDistilBert.from_pretrained(weights).eval()
    except (OSError, ValueError) as error:
        raise ClassifierError(f"{weights!r} holds no float weights of this model: {error}.") from None
    tokenizer = Tokenizer.from_file(str(classifier.folder.path / "tokenizer.json"))
    length = min(128, classifier.folder.config["max_position_embeddings"])
    tokenizer.enable_truncation(length)
    tasks = classifier.tasks.tasks

    def answer(texts: Sequence[str]) -> Answers:
        encodings = tokenizer.encode_batch(list(texts))
        with torch.inference_mode():
            logits = model(
                torch.tensor([encoding.ids for encoding in encodings]),
                torch.tensor([encoding.attention_mask for encoding in encodings]),
            )
        best = [logits[task.name].argmax(-1).tolist() for task in tasks]
        return [
            tuple(task.label_names[row] for task, row in zip(tasks, rows, strict=True))
            for rows in zip(*best, strict=True)
        ]

    def padded(texts: Sequence[str]) -> Answers:
        tokenizer.enable_padding(length=length)
        return [labels for start in range(0, len(texts), 32) for labels in answer(texts[start : start + 32])]

    def sorted_dynamic(texts: Sequence[str]) -> Answers:
        tokenizer.enable_padding()
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found: dict[int, tuple[str, ...]] = {}
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            found.update(zip(rows, answer([texts[row] for row in rows]), strict=True))
        return [found[row] for row in range(len(texts))]

    return {"torch, batches of 32 padded to 128": padded, "torch, sorted, dynamic padding": sorted_dynamic}


def _peak_share(classifier: Classifier, texts: Sequence[str], seconds: float) -> dict[str, float]:
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
        for feed in classifier._read_window(texts, return_errors=True).feeds():
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: round(time / spent.total(), 3) for name, time in spent.most_common(8)}


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    speeds = report["speeds"]
    width = max(len(speed["name"]) for speed in speeds)
    lines = [
        f"{report['messages']:,} messages, {report['rounds']} rounds, {report['threads']} threads each, "
        f"{report['model']['id']} ({report['model']['backend']})",
        "",
        f"{'':{width}}  messages/s  median ms  CPU ms   ratio  same labels",
    ]
    for speed in speeds:
        lines.append(
            f"{speed['name']:{width}}  {speed['messages_per_second']:10,.1f}  {speed['median_ms']:9.2f}  "
            f"{speed['cpu_ms']:6.2f}  {speed['ratio']:5.1f}x  {speed['label_agreement']:11.2%}"
        )
    peak = report["peak"]
    lines += [
        "",
        f"A single message while a file runs: {report['single_ms_while_a_file_runs']:.1f} ms (median).",
        f"classify_many reaches {peak['reached_gigaflops']:,.0f} billion operations per second"
        + "".join(
            f", {peak[f'share_of_{kind}_peak']:.0%} of this machine's {kind} peak "
            f"({peak[f'{kind}_peak_gigaflops']:,.0f})"
            for kind in ("int8", "float32")
            if f"share_of_{kind}_peak" in peak
        )
        + ".",
        "Of the model's time: " + ", ".join(f"{name} {share:.0%}" for name, share in report["operators"].items()),
    ]
    return "\n".join(lines)
