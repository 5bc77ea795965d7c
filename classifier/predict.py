"""Serving: a model folder becomes a `Classifier` on ONNX Runtime and tokenizers, without torch."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from .errors import ClassifierError
from .folder import CONFIG, EMBEDDED, ModelFolder
from .routing import Route

#: Characters of a message that are looked at, per token of the model's limit. A word of over 100
#: characters is one unknown token for BERT's tokenizer, so no token that counts is lost.
CHARACTERS_PER_TOKEN = 100

#: [CLS] and [SEP], which every encoding has.
SPECIAL_TOKENS = 2

#: Messages that `classify_many` reads ahead, to sort them by length.
WINDOW = 2048

#: Tokens, padding included, of one run of the model.
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Result:
    """The answer to one message. `to_dict` is the form in which every interface returns it.

    Attributes:
        labels: Task to its most probable label.
        probabilities: Task to label to calibrated probability.
        route: What the desk should do.
        tokens: Tokens read, the two special ones included.
        truncated: Whether the message was longer than the model reads.
        latency_ms: Milliseconds of each step: tokenize, model, route, total. In a batch, this message's share.
        model: ``id``, ``revision`` and ``backend`` of the model that answered.
    """

    labels: Mapping[str, str]
    probabilities: Mapping[str, Mapping[str, float]]
    route: Route
    tokens: int
    truncated: bool
    latency_ms: Mapping[str, float]
    model: Mapping[str, str | None]

    @property
    def confidence(self) -> dict[str, float]:
        """Task to the probability of its label."""
        return {task: self.probabilities[task][label] for task, label in self.labels.items()}

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data: a key per task, then the details."""
        return {
            **self.labels,
            "confidence": {task: round(share, 4) for task, share in self.confidence.items()},
            "probabilities": {
                task: {label: round(share, 4) for label, share in shares.items()}
                for task, shares in self.probabilities.items()
            },
            "route": self.route.to_dict(),
            "tokens": self.tokens,
            "truncated": self.truncated,
            "latency_ms": {step: round(value, 3) for step, value in self.latency_ms.items()},
            "model": dict(self.model),
        }


class Classifier:
    """Answers messages with one model folder. Safe to share between threads.

    Args:
        folder: The model folder.
        id: Name shown in results.
        revision: Commit of the model, for models of the Hub.
        backend: ``"onnx-int8"``, ``"onnx-fp32"``, or None for the first that the folder has.
        threads: Threads of one run of the model; None for all cores that this process may use.

    Raises:
        ClassifierError: The folder has no such backend, or its ONNX file is damaged or of another model.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        id: str,
        revision: str | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.folder, self.tasks, self.policy = folder, folder.tasks, folder.policy
        self.threads = threads or available_cores()
        path, backend = folder.onnx_file(backend)
        self.model = {"id": id, "revision": revision, "backend": backend}
        self._session = _open_session(path, self.threads)
        outputs = {output.name: output.shape[-1] for output in self._session.get_outputs()}
        for task in self.tasks.tasks:
            if outputs.get(task.name) != len(task.labels):
                raise ClassifierError(
                    f"{str(path)!r} gives {outputs.get(task.name, 'no')} outputs for task {task.name!r}, "
                    f"{CONFIG} declares {len(task.labels)} labels; export the model again."
                )
        try:
            self._tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise ClassifierError(f"The tokenizer of {str(folder.path)!r} cannot be read: {error}.") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(folder.max_tokens)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        revision: str | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> Classifier:
        """Load a model.

        Args:
            model: A model folder, the name of a Hub repository (owner/name), or None for the embedded model.
            revision: Commit, tag or branch of a Hub repository; its default branch if None.
            backend: ``"onnx-int8"``, ``"onnx-fp32"``, or None for the first that the model has.
            threads: Threads of one run of the model; None for all cores that this process may use.

        Raises:
            ClassifierError: There is no such model, or it cannot be used; the message says why.
        """
        if model is None:
            return cls(ModelFolder.read(EMBEDDED), id="embedded", backend=backend, threads=threads)
        if Path(model).is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(model)):
            folder = ModelFolder.read(model)
            return cls(folder, id=str(model), revision=revision, backend=backend, threads=threads)
        from .hub import pull  # only models of the Hub need its client

        path, commit = pull(str(model), revision=revision, weights=False)
        return cls(ModelFolder.read(path), id=str(model), revision=commit, backend=backend, threads=threads)

    def classify(self, text: str) -> Result:
        """Answer one message.

        Args:
            text: The message, of any length; what the model does not read is cut, and the result says so.

        Raises:
            ClassifierError: The message is no string, or holds nothing to read.
        """
        started = time.perf_counter()
        encoding, cut = self._encode([text])[0]
        tokenized = time.perf_counter()
        logits = self._run([encoding])
        modelled = time.perf_counter()
        latency = {"tokenize": tokenized - started, "model": modelled - tokenized}
        return self._result(text, encoding, cut, {task: values[0] for task, values in logits.items()}, latency)

    def classify_many(self, texts: Iterable[str]) -> Iterator[Result]:
        """Answer any number of messages, in their order and in bounded memory.

        Messages are read ahead in windows, sorted by length there and run in batches without much padding.

        Args:
            texts: The messages.

        Yields:
            One result for each message.

        Raises:
            ClassifierError: A message is no string, or holds nothing to read.
        """
        if isinstance(texts, str):
            raise ClassifierError("classify_many was given one string; give a list of messages, or use classify.")
        stream = iter(texts)
        while window := list(islice(stream, WINDOW)):
            yield from self._classify_window(window)

    def part_read(self, text: str) -> str:
        """The beginning of a message that the model reads: all of it, unless the result says truncated."""
        (clean,) = self._clean([text])
        encoding = self._tokenizer.encode(clean)
        return text if not encoding.overflowing and clean == text else text[: max(end for _, end in encoding.offsets)]

    def _classify_window(self, window: Sequence[str]) -> list[Result]:
        started = time.perf_counter()
        encoded = self._encode(window)
        tokenize = (time.perf_counter() - started) / len(window)
        results: dict[int, Result] = {}
        for batch in _batches_by_length([len(encoding.ids) for encoding, _ in encoded]):
            started = time.perf_counter()
            logits = self._run([encoded[index][0] for index in batch])
            latency = {"tokenize": tokenize, "model": (time.perf_counter() - started) / len(batch)}
            for row, index in enumerate(batch):
                own = {task: values[row] for task, values in logits.items()}
                results[index] = self._result(window[index], *encoded[index], own, latency)
        return [results[index] for index in range(len(window))]

    def _encode(self, texts: Sequence[str]) -> list[tuple[Encoding, bool]]:
        """Tokenize; beside each encoding, whether characters were cut before."""
        clean = self._clean(texts)
        encodings = self._tokenizer.encode_batch_fast(clean) if len(clean) > 1 else [self._tokenizer.encode(clean[0])]
        for text, encoding in zip(texts, encodings, strict=True):
            if len(encoding.ids) <= SPECIAL_TOKENS:
                raise ClassifierError(f"The message {text[:40]!r} holds nothing to read; write a few words.")
        return [(encoding, len(text) > len(part)) for text, part, encoding in zip(texts, clean, encodings, strict=True)]

    def _clean(self, texts: Sequence[str]) -> list[str]:
        """The messages as the tokenizer can take them, cut where the model's limit is surely passed."""
        limit = self.folder.max_tokens * CHARACTERS_PER_TOKEN
        for text in texts:
            if not isinstance(text, str):
                raise ClassifierError(f"A message is {type(text).__name__} ({text!r:.40}); expected a string.")
        # Lone surrogates are no text and cannot be encoded; '?' stands for each.
        return [text[:limit].encode("utf-8", "replace").decode("utf-8") for text in texts]

    def _run(self, encodings: Sequence[Encoding]) -> dict[str, NDArray[np.float32]]:
        """Logits per task, (batch, labels)."""
        length = max(len(encoding.ids) for encoding in encodings)
        input_ids = np.zeros((len(encodings), length), np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, encoding in enumerate(encodings):
            input_ids[row, : len(encoding.ids)] = encoding.ids
            attention_mask[row, : len(encoding.ids)] = 1
        names = list(self.tasks.task_names)
        values = self._session.run(names, {"input_ids": input_ids, "attention_mask": attention_mask})
        return dict(zip(names, values, strict=True))

    def _result(
        self, text: str, encoding: Encoding, cut: bool, logits: Mapping[str, NDArray[Any]], latency: Mapping[str, float]
    ) -> Result:
        started = time.perf_counter()
        probabilities = {
            task.name: dict(
                zip(task.label_names, _softmax(logits[task.name] / self.folder.temperatures[task.name]), strict=True)
            )
            for task in self.tasks.tasks
        }
        truncated = cut or bool(encoding.overflowing)
        route = self.policy.route(probabilities, text)
        steps = {**latency, "route": time.perf_counter() - started}
        return Result(
            labels={task: max(shares, key=shares.__getitem__) for task, shares in probabilities.items()},
            probabilities=probabilities,
            route=route,
            tokens=len(encoding.ids),
            truncated=truncated,
            latency_ms={step: 1000 * value for step, value in {**steps, "total": sum(steps.values())}.items()},
            model=self.model,
        )

    @cached_property
    def info(self) -> dict[str, Any]:
        """What answers: the model, its tasks with the meaning of each label, its limits and policy version."""
        return {
            "model": dict(self.model),
            "task_set": self.tasks.name,
            "title": self.tasks.title,
            "tasks": {
                task.name: {
                    "question": task.question,
                    "labels": {label.name: label.description for label in task.labels},
                }
                for task in self.tasks.tasks
            },
            "max_tokens": self.folder.max_tokens,
            "policy_version": self.policy.version,
            "threads": self.threads,
        }


def available_cores() -> int:
    """Cores that this process may use: its CPU mask and, in containers, its CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def _open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes have no public name
        raise ClassifierError(
            f"{str(path)!r} is no usable ONNX model ({error}); export or download the model again."
        ) from error


def _batches_by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, each of at most BATCH_TOKENS tokens when padded."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[index] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _softmax(logits: NDArray[Any]) -> list[float]:
    """Probabilities of one message's labels."""
    shifted = np.exp(logits - logits.max())
    return (shifted / shifted.sum()).astype(float).tolist()
