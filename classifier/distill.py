"""Distillation: the mean answer of trained models as a further target for a new one.

An ensemble errs less than each of its members, and one model can learn most of that from its answers,
also on messages that nobody labelled (Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from .errors import ClassifierError
from .examples import Examples
from .hub import model_folder
from .logits import answers
from .tasks import TaskSet
from .teacher import load_teacher

CPU = torch.device("cpu")


def teach(
    examples: Examples,
    teachers: Sequence[str],
    tasks: TaskSet,
    *,
    device: torch.device = CPU,
    bf16: bool = False,
) -> Examples:
    """Give each message the mean of the teachers' probabilities, from the message without noise.

    Args:
        examples: The training data.
        teachers: Model folders, or repositories on the Hub, with their weights; none leaves all as it is.
        tasks: The task set that they must share.
        device: Where they run.
        bf16: Whether they compute in bfloat16, as training does where the hardware can.

    Returns:
        The same rows with `Examples.soft` for every task of the set.

    Raises:
        ClassifierError: A teacher cannot be found, has no weights or another task set.
    """
    if not teachers:
        return examples
    given = []
    for number, teacher in enumerate(teachers, 1):
        print(f"teacher {number} of {len(teachers)} answers {len(examples)} messages", file=sys.stderr)
        given.append(_answers(teacher, examples.texts, tasks, device, bf16))
    soft = {name: np.stack([answer[name] for answer in given]).mean(0).astype(np.float32) for name in tasks.task_names}
    return replace(examples, soft=soft)


def _answers(
    teacher: str, texts: Sequence[str], tasks: TaskSet, device: torch.device, bf16: bool
) -> dict[str, NDArray[np.float64]]:
    """Calibrated probabilities of every task, (texts, labels)."""
    folder, model, tokenizer = load_teacher(model_folder(teacher))
    theirs = {task.name: task.label_names for task in folder.tasks.tasks}
    if theirs != {task.name: task.label_names for task in tasks.tasks}:
        raise ClassifierError(
            f"The teacher {teacher!r} answers {', '.join(theirs)}; expected the labels of {tasks.name!r} "
            f"({', '.join(tasks.task_names)}). Choose a model of the same task set."
        )
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return answers(model.to(device), tokenizer, texts, folder.max_tokens, folder.temperatures)
