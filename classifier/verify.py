"""Whether the exported ONNX files answer as the torch model does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from scipy.special import softmax
from tokenizers import Tokenizer
from torch import Tensor

from .batches import padded
from .errors import ClassifierError
from .model import MultiTaskDistilBert
from .session import available_cores

#: Share of messages whose label must stay the same, for every task.
BAR = 0.993

#: Messages that a proof needs.
PROOF_MESSAGES = 1000


def verify(
    file: str | Path,
    model: MultiTaskDistilBert,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    bar: float = BAR,
    least: int = PROOF_MESSAGES,
) -> dict[str, Any]:
    """Compare an ONNX file with the torch model on every head.

    Args:
        file: The ONNX file.
        model: The model that it was made from.
        tokenizer: Its tokenizer, with truncation set.
        texts: Messages; none that the file's activation ranges were taken from.
        bar: Share of the messages whose label must be the same, for every head.
        least: Messages needed.

    Returns:
        ``n``, ``megabytes``, and under ``"tasks"`` for each head its ``agreement`` and
        ``largest_difference`` of a probability.

    Raises:
        ClassifierError: There are too few messages, or a head agrees less than the bar asks.
    """
    texts = list(dict.fromkeys(texts))
    if len(texts) < least:
        raise ClassifierError(f"A proof needs {least} different messages; {len(texts)} were given. Give more data.")
    found = compare(file, model, padded(tokenizer, sorted(texts, key=len)))
    below = {name: task["agreement"] for name, task in found.items() if task["agreement"] < bar}
    if below:
        shares = ", ".join(f"{name} {share:.2%}" for name, share in below.items())
        raise ClassifierError(
            f"The new {Path(file).name.removesuffix('.part')} gives other labels than the model too often ({shares} "
            f"the same of {len(texts)} messages; "
            f"{bar:.1%} are needed). Give samples that are nearer to the messages, or serve the float file."
        )
    return {"n": len(texts), "megabytes": round(Path(file).stat().st_size / 1e6, 2), "tasks": found}


def compare(
    file: str | Path | bytes, model: MultiTaskDistilBert, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, dict[str, float]]:
    """Agreement and largest probability difference of each head of an ONNX file with the torch model.

    Args:
        file: Path or content of the ONNX file.
        model: The model that it was made from.
        batches: (input_ids, attention_mask) pairs, (batch, tokens) each.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    source = file if isinstance(file, bytes) else str(file)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = list(model.heads)
    same, gap, total = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0), 0
    model.eval()
    for input_ids, mask in batches:
        with torch.inference_mode():
            expected = model(input_ids, mask)
        values = session.run(names, {"input_ids": input_ids.numpy(), "attention_mask": mask.numpy()})
        total += len(input_ids)
        for name, logits in zip(names, values, strict=True):
            ours, theirs = softmax(logits, axis=1), softmax(expected[name].numpy(), axis=1)
            same[name] += int((ours.argmax(1) == theirs.argmax(1)).sum())
            gap[name] = max(gap[name], float(np.abs(ours - theirs).max()))
    return {name: {"agreement": same[name] / total, "largest_difference": gap[name]} for name in names}
