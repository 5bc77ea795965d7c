"""How fast training is on this machine, side by side with the way that notebooks do it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .batches import Batch, Epoch, load_tokenizer
from .errors import ClassifierError
from .losses import MultiTaskLoss
from .model import MultiTaskDistilBert
from .optim import make_optimizer, use_bf16
from .prepare import prepare
from .settings import TrainSettings

#: Batch size of the notebooks that we compare with; they compute in float32 and pad all to the longest.
NOTEBOOK_BATCH = 8


@dataclass(frozen=True)
class _Way:
    """One way to train: its own model and optimizer, its batches, its precision."""

    step: Callable[[Batch], None]
    batches: Sequence[Batch]


def measure_training(settings: TrainSettings, *, batches: int = 4, rounds: int = 3) -> dict[str, Any]:
    """Time training steps on the same messages, our way and the notebook's way in turns.

    Args:
        settings: The run whose speed is asked for; nothing is written.
        batches: Batches of `settings.batch_size` messages per round.
        rounds: Rounds; the median counts, the first serves to warm up and doesn't.

    Returns:
        ``device``, ``peak_flops`` (measured with a large matrix product in the fastest precision that the run
        may use), ``ways`` (for ``ours`` and ``notebook``: messages and tokens per second, share of padding,
        share of the peak) and ``ratio`` of messages per second.

    Raises:
        ClassifierError: Data or encoder cannot be read, or there are too few messages.
    """
    prepared = prepare(settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = load_tokenizer(settings.base, settings.revision, settings.max_tokens)
    epoch = Epoch(prepared.train, prepared.all_tasks, tokenizer, settings, 0)
    if len(epoch) < batches or settings.batch_size % NOTEBOOK_BATCH:
        raise ClassifierError(
            f"{len(prepared.train)} messages in batches of {settings.batch_size} cannot be measured; give at least "
            f"{batches} batches, of a size that {NOTEBOOK_BATCH} divides."
        )
    ours = [epoch.batch(step) for step in range(batches)]
    longest = max(len(ids) for ids in epoch.token_ids)
    theirs = [_pad_to(part, longest) for batch in ours for part in _cut(batch, NOTEBOOK_BATCH)]
    bf16 = use_bf16(settings.precision, device)
    heads = {task.name: len(task.labels) for task in prepared.all_tasks.tasks}

    def way(data: Sequence[Batch], bf16: bool) -> _Way:
        torch.manual_seed(settings.seed)
        model = MultiTaskDistilBert.from_encoder(settings.base, heads, revision=settings.revision)
        nn.Module.to(model.train(), device)
        loss = MultiTaskLoss(prepared.all_tasks.tasks, frozenset(), settings, prepared.train).to(device)
        return _Way(_stepper(model, loss, settings, bf16, device), data)

    ways = {"ours": way(ours, bf16), "notebook": way(theirs, False)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, found in ways.items():
            times[name].append(_timed(found, device))
            print(f"round {number} of {rounds}, {name}: {times[name][-1]:.2f} s", file=sys.stderr)
    peak = matmul_rate(device, bf16)
    encoder = MultiTaskDistilBert.from_encoder(settings.base, heads, revision=settings.revision)
    rows = {
        name: _figures(found.batches, median(times[name][1:]), flops(encoder, ours) / peak)
        for name, found in ways.items()
    }
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "precision": "bf16" if bf16 else "fp32",
        "peak_flops": peak,
        "ways": rows,
        "ratio": rows["ours"]["messages_per_second"] / rows["notebook"]["messages_per_second"],
    }


def flops(model: MultiTaskDistilBert, batches: Sequence[Batch]) -> float:
    """Floating-point operations that training on these batches needs, padding not counted.

    Six per weight of a matrix and token (forward two, backward four), and the two products of attention
    (Kaplan et al. 2020, arXiv:2001.08361, appendix B).
    """
    weights = sum(part.weight.numel() for part in model.distilbert.transformer.modules() if isinstance(part, nn.Linear))
    lengths = torch.cat([batch.attention_mask.sum(1) for batch in batches]).double()
    attention = 12 * model.config.n_layers * model.config.dim * (lengths**2).sum()
    return float(6 * weights * lengths.sum() + attention)


def matmul_rate(device: torch.device, bf16: bool, size: int = 2048) -> float:
    """Floating-point operations per second of a large matrix product, the best of five."""
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    best = float("inf")
    for _ in range(5):
        _wait(device)
        started = time.perf_counter()
        matrix @ matrix
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _stepper(
    model: MultiTaskDistilBert, loss: MultiTaskLoss, settings: TrainSettings, bf16: bool, device: torch.device
) -> Callable[[Batch], None]:
    optimizer = make_optimizer(model, settings)

    def step(batch: Batch) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            outputs = model(batch.input_ids, batch.attention_mask)
        torch.stack(list(loss(outputs, batch, len(batch.weights)).values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _timed(way: _Way, device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    for batch in way.batches:
        way.step(batch.to(device))
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _figures(batches: Sequence[Batch], seconds: float, peak_seconds: float) -> dict[str, float]:
    tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
    cells = sum(batch.attention_mask.numel() for batch in batches)
    return {
        "messages_per_second": sum(len(batch.weights) for batch in batches) / seconds,
        "tokens_per_second": tokens / seconds,
        "padding": 1 - tokens / cells,
        "share_of_peak": peak_seconds / seconds,
    }


def _cut(batch: Batch, size: int) -> list[Batch]:
    starts = range(0, len(batch.weights), size)
    return [
        Batch(
            batch.input_ids[start : start + size],
            batch.attention_mask[start : start + size],
            {task: values[start : start + size] for task, values in batch.labels.items()},
            batch.weights[start : start + size],
        )
        for start in starts
    ]


def _pad_to(batch: Batch, length: int) -> Batch:
    more = (0, length - batch.input_ids.shape[1])
    return replace(
        batch,
        input_ids=functional.pad(batch.input_ids, more),
        attention_mask=functional.pad(batch.attention_mask, more),
    )
