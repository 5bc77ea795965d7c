"""What a model answers: logits in float32, and their scores on a validation split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score
from tokenizers import Tokenizer

from .batches import encode, pad
from .examples import MISSING, Examples
from .model import MultiTaskModel
from .tasks import TaskSet


def predict_logits(
    model: MultiTaskModel, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, batch_tokens: int = 8192
) -> dict[str, NDArray[np.float32]]:
    """Logits of every head, in float32, without dropout.

    Args:
        model: The model, on any device.
        tokenizer: The encoder's tokenizer.
        texts: The messages.
        max_tokens: Longest input in tokens; what is longer is cut.
        batch_tokens: Tokens per batch, padding included.

    Returns:
        Task to logits, (messages, labels), in the order of the messages.
    """
    vectors = pooled_vectors(model, tokenizer, texts, max_tokens, batch_tokens)
    return head_logits(model, vectors)


def answers(
    model: MultiTaskModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_tokens: int,
    temperatures: Mapping[str, float],
) -> dict[str, NDArray[np.float64]]:
    """Calibrated probabilities, (messages, labels), of every task that has a temperature."""
    logits = predict_logits(model, tokenizer, texts, max_tokens)
    return {
        name: softmax(logits[name].astype(np.float64) / temperature, axis=1)
        for name, temperature in temperatures.items()
    }


def head_logits(model: MultiTaskModel, vectors: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Logits of every head for pooled vectors, (messages, dim), without dropout."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        pooled = torch.from_numpy(vectors).to(device)
        return {name: head(pooled).float().cpu().numpy() for name, head in model.heads.items()}


def pooled_vectors(
    model: MultiTaskModel, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, batch_tokens: int = 8192
) -> NDArray[np.float32]:
    """Pooled vectors, in float32, without dropout; the arguments are `predict_logits`'.

    Returns:
        (messages, dim), in the order of the messages.
    """
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    token_ids = encode(tokenizer, texts)
    order = sorted(range(len(texts)), key=lambda row: len(token_ids[row]))
    vectors = np.zeros((len(texts), model.config.hidden_size), np.float32)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    with torch.inference_mode():
        while order:
            size = max(batch_tokens // len(token_ids[order[min(len(order), 256) - 1]]), 1)
            rows, order = order[: min(size, 256)], order[min(size, 256) :]
            input_ids, attention_mask = pad([token_ids[row] for row in rows])
            vectors[rows] = model.pool(input_ids.to(device), attention_mask.to(device)).float().cpu().numpy()
    model.train(was_training)
    return vectors


def validation_scores(
    found: Sequence[tuple[Sequence[int], Mapping[str, NDArray[np.float32]]]], validation: Examples, tasks: TaskSet
) -> dict[str, Any]:
    """Accuracy and macro-F1 of each task, and their ``score``: the mean macro-F1 over the tasks.

    Args:
        found: Parts of the split: positions and their logits.
        validation: The split.
        tasks: The task set.
    """
    scores: dict[str, Any] = {"tasks": {}}
    for name in tasks.task_names:
        predicted = np.zeros(len(validation), np.int64)
        for rows, logits in found:
            predicted[list(rows)] = logits[name].argmax(1)
        known = validation.labels[name] != MISSING
        if known.any():
            truth, answer = validation.labels[name][known], predicted[known]
            scores["tasks"][name] = {
                "accuracy": float(accuracy_score(truth, answer)),
                "macro_f1": float(f1_score(truth, answer, average="macro")),
            }
    scores["score"] = float(np.mean([task["macro_f1"] for task in scores["tasks"].values()]))
    return scores
