"""From a trained model to a model folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
from tokenizers import Tokenizer
from torch import nn

from .batches import padded
from .errors import ClassifierError
from .folder import CALIBRATION, FORMAT, ONNX_FLOAT, ONNX_INT8, POLICY, TOKENIZER, WEIGHTS, ModelFolder, write_json
from .graph import build_onnx
from .int8 import Int8Scheme
from .model import MultiTaskDistilBert, MultiTaskModel, pretrained
from .policy import Policy
from .tasks import TaskSet
from .verify import BAR, verify


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
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Write one ONNX file of a folder, int8 unless `float_onnx`; the other arguments are `write_model_folder`'s.

    `check` sees the new file before it takes the place of the old one, which stays if that raises.
    """
    file = Path(path) / (ONNX_FLOAT if float_onnx else ONNX_INT8)
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": FORMAT, "task_set": tasks.to_dict(), "max_tokens": max_tokens}
    part = file.with_name(f"{file.name}.part")
    try:
        onnx.save(
            build_onnx(model, metadata=metadata)
            if float_onnx
            else build_onnx(model, scheme or Int8Scheme(), list(padded(tokenizer, samples)), metadata),
            part,
        )
        if check:
            check(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
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
    return folder, pretrained(MultiTaskDistilBert, str(folder.path)).eval(), tokenizer


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

        def prove(file: Path, backend: str = backend) -> None:
            found[backend] = verify(file, model, tokenizer, proof, bar=BAR)

        write_onnx(
            path,
            model,
            folder.tasks,
            tokenizer,
            max_tokens=folder.max_tokens,
            samples=samples,
            float_onnx=as_float,
            check=prove,
        )
    return found
