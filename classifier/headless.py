"""Training without a page: check, train, report and push from one settings file, here or as a Job of the Hub."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .datacheck import DataCheck, check_data, hold_out
from .errors import ClassifierError
from .settings import TrainSettings, preset, read_overrides, read_settings_file
from .trainer import RunState, Trainer

#: Seconds between two looks at the run.
LOOK = 1.0


def plan_run(trainer: Trainer, values: Mapping[str, Any]) -> tuple[TrainSettings, DataCheck]:
    """Check the data of a run.

    Args:
        trainer: Whose folder the run will have.
        values: Settings of training.

    Returns:
        The complete settings and the checked data.

    Raises:
        ClassifierError: Settings or data are wrong.
    """
    settings = TrainSettings.build(values, {"out": trainer.model})
    return settings, check_data(settings)


def start_run(trainer: Trainer, values: Mapping[str, Any], owner: str | None = None) -> DataCheck:
    """Check the data, write the held-out messages down and start training on the others.

    Args:
        trainer: What trains.
        values: Settings of training.
        owner: Account that starts the run.

    Returns:
        The checked data.

    Raises:
        ClassifierError: A run goes on, or settings or data are wrong.
    """
    trainer.refuse_if_running()
    settings, check = plan_run(trainer, values)
    trainer.start(hold_out(check, settings, trainer.folder), owner=owner)
    return check


def settings_from(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a settings file, on top of the preset that it names.

    Args:
        path: The file.
        overrides: In place of the file's, as `read_overrides` takes them.

    Raises:
        ClassifierError: The file cannot be read, or an override is none.
    """
    named, values = read_settings_file(path)
    return {**preset(named or "ours"), **values, **read_overrides(overrides)}


def run(trainer: Trainer, values: Mapping[str, Any] | None) -> RunState:
    """Train to the end, with progress on stderr. An interrupt stops the run; it can be resumed.

    Args:
        trainer: What trains.
        values: Settings of training; None continues the stopped run of the trainer's folder instead.

    Returns:
        The state at the end.

    Raises:
        ClassifierError: The run cannot start, or failed.
    """
    if values is None:
        trainer.resume()
    else:
        check = start_run(trainer, values)
        print(f"{len(check.train):,} messages to train on, {len(check.validation):,} held out.", file=sys.stderr)
        for warning in check.warnings:
            print(f"warning: {warning}", file=sys.stderr)
    try:
        _follow(trainer)
    except KeyboardInterrupt:
        trainer.stop()
        raise
    state = trainer.wait()
    if state.phase != "done":
        raise ClassifierError(f"Training did not finish: {state.error or state.phase}. The log is in {trainer.folder}.")
    return state


def print_report(trainer: Trainer) -> None:
    """Print the finished model's report as JSON."""
    print(json.dumps(trainer.report(), indent=2, ensure_ascii=False))


def _follow(trainer: Trainer) -> None:
    """Print a line per validation and now and then one of progress, until the run ends."""
    validations, said = 0, 0
    while True:
        state = trainer.state()
        for line in state.validations[validations:]:
            print(f"step {line['step']}: validation macro-F1 {line['score']:.4f}", file=sys.stderr)
        validations = len(state.validations)
        if state.total and state.step >= said + max(state.total // 20, 1):
            said = state.step
            left = f", at most {state.seconds_left:.0f} s left" if state.seconds_left is not None else ""
            loss = state.steps[-1]["loss"]
            print(f"step {state.step} of {state.total}: loss {loss:.3f}{left}", file=sys.stderr)
        if state.phase != "running":
            return
        time.sleep(LOOK)
