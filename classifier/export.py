"""From a trained model to a model folder, and the proof that its ONNX files answer as the model does."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from scipy.special import softmax
from tokenizers import Tokenizer
from torch import Tensor, nn

from .errors import ClassifierError
from .folder import CALIBRATION, FORMAT, ONNX_FLOAT, ONNX_INT8, POLICY, TOKENIZER, WEIGHTS, ModelFolder, write_json
from .graph import build_onnx
from .int8 import Int8Scheme
from .model import MultiTaskDistilBert, MultiTaskModel
from .policy import Policy
from .session import available_cores
from .tasks import TaskSet

#: Share of messages whose label must stay the same, for every task.
BAR = 0.993

#: Messages that a proof needs.
PROOF_MESSAGES = 1000


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
    path = write_trained(
        path, model, tasks, tokenizer, max_tokens=max_tokens, temperatures=temperatures, data_hash=data_hash
    )
    write_onnx(path, model, tasks, tokenizer, max_tokens=max_tokens, samples=samples, scheme=scheme)
    if float_onnx:
        write_onnx(path, model, tasks, tokenizer, max_tokens=max_tokens, float_onnx=True)
    return path


def write_trained(
    path: str | Path,
    model: MultiTaskModel,
    tasks: TaskSet,
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    temperatures: Mapping[str, float] | None = None,
    data_hash: str | None = None,
) -> Path:
    """Write a model folder without ONNX files; the arguments are `write_model_folder`'s."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
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
    return path


def write_onnx(
    path: str | Path,
    model: MultiTaskDistilBert,
    tasks: TaskSet,
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    samples: Sequence[str] = (),
    scheme: Int8Scheme | None = None,
    float_onnx: bool = False,
) -> Path:
    """Write one ONNX file of a folder, int8 unless `float_onnx`; the arguments are `write_model_folder`'s."""
    file = Path(path) / (ONNX_FLOAT if float_onnx else ONNX_INT8)
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": FORMAT, "task_set": tasks.to_dict(), "max_tokens": max_tokens}
    part = file.with_name(f"{file.name}.part")
    onnx.save(
        build_onnx(model, metadata=metadata)
        if float_onnx
        else build_onnx(model, scheme or Int8Scheme(), list(batches(tokenizer, samples)), metadata),
        part,
    )
    part.replace(file)
    return file


def load_trained(path: str | Path) -> tuple[ModelFolder, MultiTaskDistilBert, Tokenizer]:
    """A model folder with its torch model, in evaluation mode, and its tokenizer, set to truncate.

    Raises:
        ClassifierError: It is no model folder, has no weights, or is a teacher's.
    """
    folder, tokenizer = read_trained(path)
    if folder.config.get("teacher"):
        raise ClassifierError(
            f"{str(path)!r} is a teacher on a {folder.config['model_type']!r} encoder, which cannot be served; "
            "train a model with it, `train --teachers`, and use that one."
        )
    return folder, MultiTaskDistilBert.from_pretrained(folder.path).eval(), tokenizer


def read_trained(path: str | Path) -> tuple[ModelFolder, Tokenizer]:
    """A model folder that has weights, and its tokenizer, set to truncate; raises as `load_trained`."""
    folder = ModelFolder.read(path)
    if not (folder.path / WEIGHTS).is_file():
        raise ClassifierError(
            f"{str(path)!r} lacks {WEIGHTS}, which training left there; give the folder that `train` wrote."
        )
    tokenizer = Tokenizer.from_file(str(folder.path / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(folder.max_tokens)
    return folder, tokenizer


def export_folder(
    path: str | Path, samples: Sequence[str], proof: Sequence[str], *, float_onnx: bool = False
) -> dict[str, Any]:
    """Make the ONNX files of a model folder from its weights and prove that they answer alike.

    Args:
        path: A model folder with its weights.
        samples: Typical messages, for the ranges of the int8 activations; training messages will do.
        proof: Other messages, to compare the answers on.
        float_onnx: Also write the float32 ONNX file.

    Returns:
        Backend to what `verify` found.

    Raises:
        ClassifierError: The folder has no weights, there are too few messages for a proof, or the answers
            differ too much; the folder then keeps the ONNX files that it had.
    """
    folder, model, tokenizer = load_trained(path)
    found = {}
    for backend, as_float in (("onnx-int8", False), ("onnx-fp32", True))[: 1 + float_onnx]:
        file = folder.path / (ONNX_FLOAT if as_float else ONNX_INT8)
        kept = file.read_bytes() if file.is_file() else None
        write_onnx(
            path, model, folder.tasks, tokenizer, max_tokens=folder.max_tokens, samples=samples, float_onnx=as_float
        )
        try:
            found[backend] = verify(file, model, tokenizer, proof, bar=BAR)
        except ClassifierError:
            file.unlink() if kept is None else file.write_bytes(kept)
            raise
    return found


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
    found = compare(file, model, batches(tokenizer, sorted(texts, key=len)))
    below = {name: task["agreement"] for name, task in found.items() if task["agreement"] < bar}
    if below:
        shares = ", ".join(f"{name} {share:.2%}" for name, share in below.items())
        raise ClassifierError(
            f"{str(file)!r} gives other labels than the model too often ({shares} the same of {len(texts)} messages; "
            f"{bar:.1%} are needed). Give samples that are nearer to the messages, or serve the float file."
        )
    return {"n": len(texts), "megabytes": round(Path(file).stat().st_size / 1e6, 2), "tasks": found}


def read_texts(path: str | Path) -> list[str]:
    """The messages of a JSON Lines file, labelled or not; a ``.gz`` file is unpacked.

    Raises:
        ClassifierError: The file cannot be read, or a row has no ``text``.
    """
    opened = gzip.open if str(path).endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            return [json.loads(line)["text"] for line in file]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClassifierError(
            f"{str(path)!r} cannot be read as messages ({error!r}); expected JSON Lines with a 'text' in each row."
        ) from None


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


def batches(tokenizer: Tokenizer, texts: Sequence[str], size: int = 32) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and attention mask of messages, padded to the longest, (batch, tokens) each."""
    for start in range(0, len(texts), size):
        ids = [
            torch.tensor(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(texts[start : start + size]))
        ]
        yield _pad(ids), _pad([torch.ones_like(row) for row in ids])


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
