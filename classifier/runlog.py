"""The log of a run in JSON Lines, and its curves as a picture."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from .errors import ClassifierError


class Log:
    """The log in JSON Lines, a line per step and validation; also sent to the experiment trackers.

    Args:
        path: The file.
        accelerator: Its main process writes; its trackers get the same values.
    """

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        self.path, self.accelerator = path, accelerator
        self.pending: list[tuple[int, dict[str, Any]]] = []
        self.since, self.speed = time.perf_counter(), 0.0

    def forget_after(self, step: int) -> None:
        """Drop lines of steps that will be made again."""
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            self.path.write_text("".join(kept), encoding="utf-8")
        self.since = time.perf_counter()

    def add(self, step: int, record: dict[str, Any]) -> None:
        """Note a step; its tensors are read only at `flush`, so that a GPU need not wait."""
        self.pending.append((step, record))

    def flush(self) -> float:
        """Write what was noted.

        Returns:
            The mean loss of these steps.

        Raises:
            ClassifierError: A loss is not a number.
        """
        steps, records = zip(*self.pending, strict=True)
        self.pending = []
        table = torch.stack([record["losses"] for record in records])
        counts = torch.tensor([[float(record["tokens"]), record["padded"]] for record in records], device=table.device)
        both = self.accelerator.reduce(torch.cat([table, counts], dim=1), "sum").cpu()
        losses, counts = both[:, :-2].sum(1), both[:, -2:].sum(0)
        elapsed = max(time.perf_counter() - self.since, 1e-9)
        self.speed = sum(record["messages"] for record in records) / elapsed
        for step, record, loss in zip(steps, records, losses.tolist(), strict=True):
            if not math.isfinite(loss):
                raise ClassifierError(
                    f"The loss is {loss} at step {step}; earlier checkpoints are untouched. "
                    "Lower --learning-rate, or train with --precision fp32."
                )
            line = {"step": step, "loss": loss, "learning_rate": record["learning_rate"]}
            if step == steps[-1]:
                line |= {
                    "messages_per_second": round(self.speed, 1),
                    "tokens_per_second": round(counts[0].item() / elapsed, 1),
                    "padding": round(1 - counts[0].item() / counts[1].item(), 4),
                }
            self.write(line)
        self.since = time.perf_counter()
        return float(losses.mean())

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        numbers = {key: value for key, value in line.items() if isinstance(value, (int, float)) and key != "step"}
        self.accelerator.log(numbers, step=line["step"])
        self.since = time.perf_counter()


def read_log(path: Path) -> list[dict[str, Any]]:
    """All lines of a log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plot_curves(path: Path, logs: Mapping[str, list[dict[str, Any]]]) -> None:
    """Draw loss and validation scores over the steps.

    Args:
        path: The PNG file to write.
        logs: Name of each run to the lines of its log.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for run, lines in logs.items():
        steps = [line for line in lines if "loss" in line]
        mean, means = None, []
        for line in steps:
            mean = line["loss"] if mean is None else 0.95 * mean + 0.05 * line["loss"]
            means.append(mean)
        losses.plot([line["step"] for line in steps], means, label=run)
        found = [line for line in lines if line.get("event") == "validation"]
        tasks = list(found[0]["tasks"]) if found and len(logs) == 1 else []
        for task in tasks:
            values = [line["tasks"][task]["macro_f1"] for line in found]
            scores.plot([line["step"] for line in found], values, linewidth=1, label=task)
        scores.plot([line["step"] for line in found], [line["score"] for line in found], "o-", label=run)
    losses.set(title="Training loss (moving mean)", xlabel="step", ylabel="loss")
    scores.set(title="Validation", xlabel="step", ylabel="macro-F1")
    scores.legend(fontsize="small")
    figure.savefig(path, dpi=120)
