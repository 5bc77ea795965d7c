"""The loss of many heads at once, with labels missing wherever a source didn't give them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batches import Batch
from .examples import MISSING, Examples
from .settings import TrainSettings
from .tasks import Task


class MultiTaskLoss(nn.Module):
    """Weighted sum over tasks of each row's cross-entropy, per row of the batch.

    The sum is divided by the number of rows of the whole batch, labelled or not: then a row counts the
    same in whatever batch it stands, and the parts of a batch (processes, accumulation) add up to exactly
    the loss of the whole.

    Args:
        tasks: All tasks, auxiliary ones included.
        auxiliary: Names of the auxiliary ones.
        settings: The run's settings.
        examples: The training data, for the class weights.
    """

    def __init__(
        self, tasks: tuple[Task, ...], auxiliary: frozenset[str], settings: TrainSettings, examples: Examples
    ) -> None:
        super().__init__()
        self.settings = settings
        default = {task.name: settings.aux_weight if task.name in auxiliary else 1.0 for task in tasks}
        self.task_weights = default | settings.task_weights
        for task in tasks:
            weight = class_weights(examples, task) if settings.class_weights else None
            self.register_buffer(f"weight_{task.name}", weight)

    def forward(self, outputs: Mapping[str, Tensor], batch: Batch, rows: int) -> dict[str, Tensor]:
        """Loss of each task, to be summed.

        Args:
            outputs: Task to logits, (rows, labels); twice the rows when R-Drop ran the batch twice.
            batch: The batch, or this process's part of it.
            rows: Rows of the whole batch.
        """
        return {task: self._task(task, outputs[task].float(), batch, rows) for task in batch.labels}

    def _task(self, task: str, logits: Tensor, batch: Batch, rows: int) -> Tensor:
        labels, weights = batch.labels[task], batch.weights
        passes = len(logits) // len(labels)
        losses = functional.cross_entropy(
            logits,
            labels.repeat(passes),
            weight=self.get_buffer(f"weight_{task}"),
            ignore_index=MISSING,
            label_smoothing=self.settings.label_smoothing,
            reduction="none",
        )
        if self.settings.focal_gamma:
            right = logits.softmax(1).gather(1, labels.repeat(passes).clamp(min=0)[:, None])[:, 0]
            losses = losses * (1 - right) ** self.settings.focal_gamma
        if task in batch.soft:
            # Rows without a label learn from the teachers alone; the others from both (Hinton et al. 2015,
            # "Distilling the knowledge in a neural network", arXiv:1503.02531, at temperature 1).
            share = torch.where(labels == MISSING, 1.0, self.settings.distill).repeat(passes)
            taught = functional.cross_entropy(logits, batch.soft[task].repeat(passes, 1), reduction="none")
            losses = (1 - share) * losses + share * taught
        total = (losses * weights.repeat(passes)).sum() / passes
        if passes == 2:
            known = (labels != MISSING) * weights
            total = total + self.settings.r_drop * (divergence(*logits.chunk(2)) * known).sum()
        return self.task_weights[task] * total / rows


def class_weights(examples: Examples, task: Task) -> Tensor:
    """Inverse frequency of each label, (labels,), scaled so that the mean over the labelled rows is 1."""
    labels = examples.labels[task.name]
    counts = torch.bincount(torch.from_numpy(labels[labels != MISSING]), minlength=len(task.labels)).float()
    return counts.sum() / (counts.clamp(min=1) * max((counts > 0).sum().item(), 1))


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Mean of both Kullback-Leibler divergences between two passes' answers, (rows,)."""
    a, b = first.log_softmax(1), second.log_softmax(1)
    return ((a.exp() - b.exp()) * (a - b)).sum(1) / 2


def double(batch: Batch) -> tuple[Tensor, Tensor]:
    """Token ids and mask of the batch twice, for two passes under different dropout."""
    return torch.cat([batch.input_ids] * 2), torch.cat([batch.attention_mask] * 2)
