"""Training from settings to a finished model folder: data, model, loop, then calibrate, evaluate, export."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from tokenizers import Tokenizer

from .batches import load_tokenizer
from .checkpoint import Checkpoints, Progress, check_space
from .distill import teach
from .errors import ClassifierError
from .finish import finish
from .folder import CONFIG, read_json, write_json
from .hub import model_folder
from .loop import Loop
from .losses import MultiTaskLoss
from .model import MultiTaskDistilBert, MultiTaskModel, pretrained_config
from .optim import use_bf16
from .prepare import Prepared, prepare
from .runlog import plot_curves, read_log
from .settings import PRESETS, TrainSettings, preset
from .tasks import TaskSet
from .teacher import MultiTaskTeacher, load_teacher

#: Settings that may change when a run is continued: they don't touch the weights, or what they do shows in the hashes.
_FREE_SETTINGS = ("out", "accumulation", "checkpoint_steps", "report_to", "spelling", "columns")


def train(settings: TrainSettings, *, resume: bool = False) -> Path:
    """Train a model and write its folder.

    Under ``accelerate launch`` every process calls this; the first one writes.

    Args:
        settings: The run's settings.
        resume: Continue from the newest checkpoint, to the result that an unbroken run would have had.

    Returns:
        The model folder.

    Raises:
        ClassifierError: Something is wrong with settings, data or machine. Earlier checkpoints are untouched.
    """
    _check_out(settings.out)
    accelerator = make_accelerator(settings)
    prepared = prepare(settings)
    model, tokenizer, progress = fit(settings, prepared, accelerator, resume=resume)
    if accelerator.is_main_process:
        finish(settings, prepared, model, tokenizer, progress, settings.out)
    accelerator.end_training()
    return settings.out


def make_accelerator(settings: TrainSettings) -> Accelerator:
    """Devices, processes and trackers.

    Raises:
        ClassifierError: A tracker's package is not installed.
    """
    available = [str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers()]
    missing = sorted(set(settings.report_to) - set(available))
    if missing:
        raise ClassifierError(
            f"--report-to names {', '.join(missing)}, which is not installed; install it with "
            f"`pip install {' '.join(missing)}`. Installed: {', '.join(available) or 'none'}."
        )
    # No mixed precision here: the loop sets autocast itself, because accelerate would patch the model's
    # forward for good, and validation and export are to run in float32.
    return Accelerator(mixed_precision="no", log_with=list(settings.report_to) or None, project_dir=settings.run)


def fit(
    settings: TrainSettings, prepared: Prepared, accelerator: Accelerator, *, resume: bool
) -> tuple[MultiTaskModel, Tokenizer, Progress]:
    """Run the loop.

    Returns:
        The model with its best weights, its tokenizer, and how the run went.

    Raises:
        ClassifierError: As `train`.
    """
    hashes = {name: prepared.report[name]["hash"] for name in ("train", "validation")}
    identity = {"settings": json.loads(settings.model_dump_json()), "hashes": hashes}
    _check_run(settings.run, identity, resume)
    torch.manual_seed(settings.seed)
    heads = {task.name: len(task.labels) for task in prepared.all_tasks.tasks}
    kind: type[MultiTaskTeacher] | type[MultiTaskDistilBert] = (
        MultiTaskTeacher if settings.teacher else MultiTaskDistilBert
    )
    model = kind.from_encoder(
        settings.base, heads, revision=settings.revision, pooling=settings.pooling, dropout=settings.dropout
    )
    _keep_heads(model, settings, prepared.tasks)
    if settings.max_tokens > model.config.max_position_embeddings:
        raise ClassifierError(
            f"--max-tokens is {settings.max_tokens}; the encoder reads up to {model.config.max_position_embeddings}."
        )
    tokenizer = load_tokenizer(settings.base, settings.revision, settings.max_tokens)
    auxiliary = frozenset(prepared.all_tasks.task_names) - set(prepared.tasks.task_names)
    loss = MultiTaskLoss(prepared.all_tasks.tasks, auxiliary, settings, prepared.train)
    if accelerator.is_main_process:
        settings.run.mkdir(parents=True, exist_ok=True)
        check_space(settings.run, model)
        write_json(settings.run / "run.json", identity)
        write_json(settings.run / "data.json", prepared.report)
    bf16 = use_bf16(settings.precision, accelerator.device)
    teachers = settings.teachers if settings.epochs else ()  # nothing is learned from them without an epoch
    taught = teach(prepared.train, teachers, prepared.tasks, device=accelerator.device, bf16=bf16)
    accelerator.wait_for_everyone()
    accelerator.init_trackers("classifier", config={key: str(value) for key, value in identity["settings"].items()})
    loop = Loop(settings, prepared.tasks, model, loss, tokenizer, taught, prepared.validation, accelerator)
    progress = loop.run()
    if accelerator.is_main_process:
        plot_curves(settings.run / "curves.png", {settings.out.name: read_log(settings.run / "log.jsonl")})
    return model, tokenizer, progress


def sweep(values: Mapping[str, Any], names: Sequence[str] | None = None, *, resume: bool = False) -> list[dict]:
    """Train several presets on the same split, compare them on validation and finish the best.

    The runs stand in ``<out>.run/<preset>.run``; a table (``sweep.json``) and curves (``sweep.png``) beside them.

    Args:
        values: Settings that override every preset's.
        names: The presets; all if None.
        resume: Continue a sweep; finished runs are kept.

    Returns:
        A row per preset, the best first.

    Raises:
        ClassifierError: As `train`.
    """
    settings = TrainSettings.build(values)
    _check_out(settings.out)
    accelerator = make_accelerator(settings)
    prepared = prepare(settings)
    runs, rows = {}, []
    for name in names or PRESETS:
        runs[name] = TrainSettings.build(preset(name), values, {"out": settings.run / name})
        print(f"preset {name}", file=sys.stderr)
        _, _, progress = fit(runs[name], prepared, accelerator, resume=resume)
        accelerator.free_memory()
        rows.append({"preset": name, "score": progress.best_score, **asdict(progress)})
    rows.sort(key=lambda row: -row["score"])
    best = runs[rows[0]["preset"]]
    if accelerator.is_main_process:
        write_json(settings.run / "sweep.json", {"runs": rows})
        plot_curves(settings.run / "sweep.png", {name: read_log(run.run / "log.jsonl") for name, run in runs.items()})
    model, tokenizer, progress = fit(best, prepared, accelerator, resume=True)  # finished: only loads its best
    if accelerator.is_main_process:
        finish(best, prepared, model, tokenizer, progress, settings.out)
    return rows


def _keep_heads(model: MultiTaskModel, settings: TrainSettings, tasks: TaskSet) -> None:
    """Go on with the heads of a model folder that is trained further, where their labels and pooling are the same."""
    config = pretrained_config(settings.base, revision=settings.revision)
    new = set(tasks.task_names)
    if getattr(config, "pooling", None) == settings.pooling and hasattr(config, "format"):
        folder, trained, _ = load_teacher(model_folder(settings.base, settings.revision))
        theirs = {task.name: task.label_names for task in folder.tasks.tasks}
        for task in tasks.tasks:
            if theirs.get(task.name) == task.label_names:
                model.heads[task.name].load_state_dict(trained.heads[task.name].state_dict())
                new.remove(task.name)
        if not settings.epochs and folder.max_tokens != settings.max_tokens:
            raise ClassifierError(
                f"--epochs 0 leaves {settings.base!r} as it is, and it reads {folder.max_tokens} tokens; give that as "
                f"--max-tokens instead of {settings.max_tokens}."
            )
    if new and not settings.epochs:
        raise ClassifierError(
            f"--epochs 0 trains nothing, but {settings.base!r} has no trained heads for {', '.join(sorted(new))} with "
            f"--pooling {settings.pooling}. Give a model folder with the same labels and pooling as --base, or train."
        )


def _check_out(out: Path) -> None:
    """Never replace a folder that isn't a model folder."""
    if out.is_dir() and any(out.iterdir()) and not ((out / CONFIG).is_file() and "format" in read_json(out / CONFIG)):
        raise ClassifierError(f"--out {str(out)!r} holds something other than a model folder; choose another name.")


def _check_run(run: Path, identity: Mapping[str, Any], resume: bool) -> None:
    if Checkpoints(run).latest() is None:
        return
    if not resume:
        raise ClassifierError(
            f"{str(run)!r} holds the checkpoints of a run; continue it with --resume, choose another --out, "
            "or remove that folder."
        )
    before = read_json(run / "run.json")
    changed = [
        f"{key} ({before['settings'].get(key)} before, {value} now)"
        for key, value in identity["settings"].items()
        if key not in _FREE_SETTINGS and before["settings"].get(key) != value
    ]
    if before["hashes"] != identity["hashes"]:
        changed.append("the data")
    if changed:
        raise ClassifierError(
            f"{str(run)!r} was begun differently: {'; '.join(changed)}. Continue with the same settings and data, "
            "or choose another --out."
        )
