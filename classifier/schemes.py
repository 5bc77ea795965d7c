"""Ways to quantise the encoder, compared on the same messages: what the choice of the default rests on."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from tokenizers import Tokenizer

from .batches import padded
from .export import load_trained
from .graph import build_onnx
from .int8 import Int8Scheme
from .verify import compare

_SMOOTH = (0.8, 0.9)

#: The float graph, and schemes from the plainest to the default.
SCHEMES: dict[str, Int8Scheme | None] = {
    "float32": None,
    "dynamic ranges, one weight scale per matrix": Int8Scheme(False, (None,), (0,), False, False),
    "dynamic ranges, one weight scale per channel": Int8Scheme(False, (None,), (0,), False),
    "fixed ranges": Int8Scheme(True, (None,), (0,), False),
    "fixed ranges, SmoothQuant": Int8Scheme(True, _SMOOTH, (0,), False),
    "fixed ranges, SmoothQuant, 8 channels in float": Int8Scheme(True, _SMOOTH, (8,), False),
    "fixed ranges, SmoothQuant, GPTQ": Int8Scheme(True, _SMOOTH, (0,)),
    "fixed ranges, SmoothQuant, 8 channels in float, GPTQ": Int8Scheme(True, _SMOOTH, (8,)),
    "fixed ranges, SmoothQuant, 32 channels in float, GPTQ": Int8Scheme(True, _SMOOTH, (32,)),
    "the cheapest per product of these (default)": Int8Scheme(),
    "blocks of 32 (MatMulNBits)": Int8Scheme(block=32),
    "blocks of 128 (MatMulNBits)": Int8Scheme(block=128),
}

#: Messages that are timed one by one.
_TIMED = 200


def compare_schemes(path: str | Path, samples: Sequence[str], proof: Sequence[str]) -> list[dict[str, Any]]:
    """Quantise a trained model in every way of `SCHEMES` and compare it with the model.

    Args:
        path: A model folder with its weights; nothing is written to it.
        samples: Typical messages, for the ranges of the activations.
        proof: Other messages, to compare the answers on.

    Returns:
        A row per scheme: ``scheme``, ``megabytes``, ``milliseconds`` (median of one message on one thread,
        the schemes in turns), ``n``, and under ``"tasks"`` what `verify.compare` found.

    Raises:
        ClassifierError: The folder has no weights.
    """
    folder, model, tokenizer = load_trained(path)
    seen, checked = list(padded(tokenizer, samples)), list(padded(tokenizer, sorted(set(proof), key=len)))
    rows: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for name, scheme in SCHEMES.items():
        print(name, file=sys.stderr)
        files[name] = build_onnx(model, scheme, seen).SerializeToString()
        rows.append({"scheme": name, "megabytes": len(files[name]) / 1e6, "n": len(set(proof))})
        found = compare(files[name], model, checked)
        rows[-1]["tasks"] = {task: found[task] for task in folder.tasks.task_names}
    seconds = _seconds(files, tokenizer, list(proof)[:_TIMED])
    return [{**row, "milliseconds": seconds[row["scheme"]] * 1e3} for row in rows]


def _seconds(files: dict[str, bytes], tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, float]:
    """Median seconds of one message per file; the files take turns, so that all meet the same machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {name: onnxruntime.InferenceSession(file, options) for name, file in files.items()}
    found: dict[str, list[float]] = {name: [] for name in files}
    for input_ids, mask in padded(tokenizer, texts, size=1):
        inputs = {"input_ids": input_ids.numpy(), "attention_mask": mask.numpy()}
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, inputs)
            found[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in found.items()}


def schemes_table(rows: Sequence[dict[str, Any]]) -> str:
    """The result of `compare_schemes` as a Markdown table."""
    tasks = list(rows[0]["tasks"])
    lines = [
        f"| scheme | {' | '.join(tasks)} | largest difference | ms | MB |",
        f"|---|{'---|' * (len(tasks) + 3)}",
    ]
    for row in rows:
        shares = " | ".join(f"{row['tasks'][task]['agreement']:.2%}" for task in tasks)
        gap = max(found["largest_difference"] for found in row["tasks"].values())
        lines.append(f"| {row['scheme']} | {shares} | {gap:.2f} | {row['milliseconds']:.2f} | {row['megabytes']:.1f} |")
    return "\n".join([*lines, "", f"Equal labels on {rows[0]['n']} messages; one message at a time on one thread."])
