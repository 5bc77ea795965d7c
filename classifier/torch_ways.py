"""What the benchmark compares with: the same weights in eager float32 torch, and an encoder of DistilBERT's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .errors import ClassifierError
from .predict import Classifier

#: Labels of each message, in the order of the tasks.
Answers = list[tuple[str, ...]]

#: Names of the ways in torch.
PADDED, SORTED, TORCH_SINGLE = (
    "torch, batches of 32 padded to 128",
    "torch, sorted, dynamic padding",
    "torch, one message at a time",
)


def torch_ways(classifier: Classifier, weights: str) -> dict[str, Callable[[Sequence[str]], Answers]]:
    """The same weights in eager float32 torch: padded to 128 in batches of 32, sorted without much padding, singly."""
    try:
        import torch

        from .model import MultiTaskDistilBert
    except ImportError:
        raise ClassifierError(
            "--weights needs torch and transformers; install requirements-train.txt, or leave it out."
        ) from None
    from tokenizers import Tokenizer

    torch.set_num_threads(classifier.threads)
    try:
        model: Any = MultiTaskDistilBert.from_pretrained(weights).eval()
    except (OSError, ValueError) as error:
        raise ClassifierError(f"{weights!r} holds no float weights of this model: {error}.") from None
    tokenizer = Tokenizer.from_file(str(classifier.folder.path / "tokenizer.json"))
    length = min(128, classifier.folder.config["max_position_embeddings"])
    tokenizer.enable_truncation(length)
    tasks = classifier.tasks.tasks

    def answer(texts: Sequence[str]) -> Answers:
        encodings = tokenizer.encode_batch(list(texts))
        with torch.inference_mode():
            logits = model(
                torch.tensor([encoding.ids for encoding in encodings]),
                torch.tensor([encoding.attention_mask for encoding in encodings]),
            )
        best = [logits[task.name].argmax(-1).tolist() for task in tasks]
        return [
            tuple(task.label_names[row] for task, row in zip(tasks, rows, strict=True))
            for rows in zip(*best, strict=True)
        ]

    def padded(texts: Sequence[str]) -> Answers:
        tokenizer.enable_padding(length=length)
        return [labels for start in range(0, len(texts), 32) for labels in answer(texts[start : start + 32])]

    def sorted_dynamic(texts: Sequence[str]) -> Answers:
        tokenizer.enable_padding()
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found: dict[int, tuple[str, ...]] = {}
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            found.update(zip(rows, answer([texts[row] for row in rows]), strict=True))
        return [found[row] for row in range(len(texts))]

    def singly(texts: Sequence[str]) -> Answers:
        tokenizer.no_padding()
        return [labels for text in texts for labels in answer([text])]

    return {PADDED: padded, SORTED: sorted_dynamic, TORCH_SINGLE: singly}


def write_distilbert(path: str, classifier: Classifier, texts: Sequence[str]) -> None:
    """Write a model folder in the shape of distilbert-base (66 million parameters) with random weights.

    Its answers mean nothing, but its work is that of a trained model: no product depends on the weights' values.

    Args:
        path: The folder.
        classifier: Lends its tasks and tokenizer.
        texts: Messages, for the ranges of the int8 activations.
    """
    try:
        import torch
        from tokenizers import Tokenizer
        from transformers import DistilBertConfig

        from .export import write_model_folder
        from .model import MultiTaskDistilBert
    except ImportError:
        raise ClassifierError("--distilbert needs torch; install requirements-train.txt, or leave it out.") from None
    torch.manual_seed(0)
    config = DistilBertConfig()
    config.heads = {task.name: len(task.labels) for task in classifier.tasks.tasks}
    config.pooling, config.head_dropout = "first", 0.1  # as DistilBERT is fine-tuned
    tokenizer = Tokenizer.from_file(str(classifier.folder.path / "tokenizer.json"))
    limit = classifier.folder.max_tokens
    model = MultiTaskDistilBert(config).eval()
    write_model_folder(path, model, classifier.tasks, tokenizer, max_tokens=limit, samples=texts[:256])
