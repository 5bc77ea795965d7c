"""Checkpoints that a kill at any moment leaves whole: written aside, then renamed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from .errors import ClassifierError
from .folder import read_json, write_json

_WEIGHTS, _OPTIMIZER, _PROGRESS = "model.safetensors", "optimizer.pt", "progress.json"


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: Optimizer steps made.
        best_score: Best validation score so far; -1 before the first.
        best_step: The step it was reached at.
        misses: Validations since then.
        stopped: Whether the run is over, by its last step or by early stopping.
        seconds: Time spent in training steps and validation.
    """

    step: int = 0
    best_score: float = -1.0
    best_step: int = 0
    misses: int = 0
    stopped: bool = False
    seconds: float = 0.0


class Checkpoints:
    """The checkpoints of one run: the newest full one, and the best weights.

    Chance is not part of a checkpoint: every step seeds its own, so a run goes on from any of them, in any
    number of processes, to the same result.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def latest(self) -> Path | None:
        """The newest complete checkpoint, or None."""
        return max(self.run.glob("checkpoint-[0-9]*[0-9]"), default=None)

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, progress: Progress) -> None:
        """Write a checkpoint, then remove the one before.

        Raises:
            ClassifierError: The disk is full or not writable; the checkpoint before is left as it was.
        """
        before = self.latest()
        target = self.run / f"checkpoint-{progress.step:08d}"

        def write(folder: Path) -> None:
            save_model(model, str(folder / _WEIGHTS))
            torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, folder / _OPTIMIZER)
            write_json(folder / _PROGRESS, asdict(progress))

        replace_folder(target, write)
        if before is not None and before != target:
            shutil.rmtree(before)

    def load(self, folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any) -> Progress:
        """Put a checkpoint's state into model, optimizer and schedule.

        Raises:
            ClassifierError: It belongs to another model or is damaged.
        """
        try:
            load_model(model, str(folder / _WEIGHTS))
            state = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            return Progress(**read_json(folder / _PROGRESS))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ClassifierError(
                f"The checkpoint {str(folder)!r} cannot be continued: {error} Remove it to start over."
            ) from error

    def save_best(self, model: nn.Module) -> None:
        """Keep these weights as the best so far; raises ClassifierError as `save` does."""
        replace_folder(self.run / "best", lambda folder: save_model(model, str(folder / _WEIGHTS)))

    def load_best(self, model: nn.Module) -> None:
        """Put the best weights into the model."""
        load_model(model, str(self.run / "best" / _WEIGHTS))


def check_space(folder: Path, model: nn.Module) -> None:
    """Make sure that the disk holds a run's checkpoints.

    Raises:
        ClassifierError: It doesn't.
    """
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    # Two checkpoints (weights and AdamW's two moments) and two sets of best weights for a moment, the model folder.
    needed, free = 9 * size, shutil.disk_usage(folder).free
    if free < needed:
        raise ClassifierError(
            f"The disk of {str(folder)!r} has {free / 1e6:,.0f} MB free; a run needs about {needed / 1e6:,.0f} MB for "
            "its checkpoints. Free some space, or choose another --out."
        )


def replace_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Fill a folder aside and put it in the place of `target`; on any failure `target` stays."""
    # Hidden names, so that no folder that a user made is taken for a leftover.
    part, old = (target.with_name(f".{target.name}.{kind}") for kind in ("part", "old"))
    if old.exists() and not target.exists():  # a run was killed between the two renames below
        old.rename(target)
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        write(part)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "space" in str(error)
        raise ClassifierError(
            f"{str(target)!r} could not be written ({'the disk is full' if full else error}); what was saved before "
            "is untouched. Free some space and continue with --resume."
        ) from error
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)
