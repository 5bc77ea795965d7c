"""Serving: a model folder becomes a `Classifier` on ONNX Runtime and tokenizers, without torch."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from .changes import is_fragile
from .errors import ClassifierError
from .folder import CONFIG, EMBEDDED, ModelFolder
from .routing import Route

#: Characters of a message that are looked at, per token of the model's limit. A word of over 100
#: characters is one unknown token for BERT's tokenizer, so no token that counts is lost.
CHARACTERS_PER_TOKEN = 100

#: [CLS] and [SEP], which every encoding has.
SPECIAL_TOKENS = 2

#: Messages that `classify_many` sorts by length together; it reads at most two such windows ahead.
#: A window of long messages is shorter, so that stopping takes effect within seconds.
WINDOW, WINDOW_CHARACTERS = 2048, 1 << 18

#: Tokens, padding included, of one run of the model in a batch. The activations of so many stay in a
#: core's cache: over 1,024 a message costs a third more time, under 256 the overhead of a run shows.
BATCH_TOKENS = 512


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

    @property
    def rounded(self) -> dict[str, dict[str, float]]:
        """The probabilities as every interface shows them."""
        return {
            task: {label: round(share, 4) for label, share in shares.items()}
            for task, shares in self.probabilities.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data: a key per task, then the details."""
        return {
            **self.labels,
            "confidence": {task: round(share, 4) for task, share in self.confidence.items()},
            "probabilities": self.rounded,
            "route": self.route.to_dict(),
            "tokens": self.tokens,
            "truncated": self.truncated,
            "latency_ms": {step: round(value, 3) for step, value in self.latency_ms.items()},
            "model": dict(self.model),
        }


@dataclass(frozen=True)
class _Window:
    """Messages that are sorted and run together.

    Attributes:
        texts: The messages, in their order, (n,).
        ordered: The distinct ones that can be read, the longest in tokens first, (m,).
        encodings: Their tokens, (m,).
        cut: Whether the model reads only their beginning, (m,).
        errors: Position in `texts` to what is wrong there.
        tokenize_seconds: Time to tokenize, per message.
    """

    texts: Sequence[str]
    ordered: Sequence[str]
    encodings: Sequence[Encoding]
    cut: Sequence[bool]
    errors: Mapping[int, ClassifierError]
    tokenize_seconds: float

    def feeds(self, most: int = BATCH_TOKENS) -> Iterator[dict[str, NDArray[np.int64]]]:
        """Inputs of the model for each batch of `ordered`, (batch, tokens), at most `most` tokens each.

        Batches of the longest messages come first, so that no core waits long for the last one.
        """
        ids = [encoding.ids for encoding in self.encodings]
        lengths = list(map(len, ids))
        start = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or lengths[start] * (end + 1 - start) > most:
                real = np.arange(lengths[start]) < np.array(lengths[start:end])[:, None]
                input_ids = np.zeros(real.shape, np.int64)
                input_ids[real] = np.fromiter(chain.from_iterable(ids[start:end]), np.int64)
                yield {"input_ids": input_ids, "attention_mask": real.astype(np.int64)}
                start = end


class Classifier:
    """Answers messages with one model folder. Safe to share between threads.

    Args:
        folder: The model folder.
        id: Name shown in results.
        revision: Commit of the model, for models of the Hub.
        backend: ``"onnx-int8"``, ``"onnx-fp32"``, or None for the first that the folder has.
        threads: Batches that run at a time, each on one core; None for all cores that this process may use.

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
        self._session = _open_session(path)
        # Threads start with their first use. What runs aside needn't wait behind the batches of a file.
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="classify")
        self._aside = ThreadPoolExecutor(self.threads, thread_name_prefix="probabilities")
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
            threads: Batches that run at a time, each on one core; None for all cores that this process may use.

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

    def classify(self, text: str, *, check_fragile: bool | None = None) -> Result:
        """Answer one message.

        Args:
            text: The message, of any length; what the model does not read is cut, and the result says so.
            check_fragile: Whether to also try some changes that mean nothing (case, marks, typos). If they change
                the action, the route is fragile, and the policy may keep it from being automatic. None tries them
                only where that decides something: where the route would be automatic and the policy cares. Such
                an answer takes about four times as long.

        Raises:
            ClassifierError: The message is no string, or holds nothing to read.
        """
        window = self._read_window([text], return_errors=False)
        (result,) = self._results(window, [self._run(feed) for feed in window.feeds()])
        assert isinstance(result, Result)  # errors were raised
        if check_fragile is None:
            check_fragile = result.route.automatic and not self.policy.automatic_when_fragile
        return self._with_doubt(text, result) if check_fragile else result

    def classify_many(self, texts: Iterable[str], *, return_errors: bool = False) -> Iterator[Any]:
        """Answer any number of messages, in their order and in bounded memory.

        Messages are read ahead in windows. In a window, identical ones are answered once, and the others are
        sorted by length and run in batches without much padding, one batch on each core.

        Args:
            texts: The messages.
            return_errors: Yield the ClassifierError of a message that cannot be read in its place, instead of
                raising it.

        Yields:
            One result for each message.

        Raises:
            ClassifierError: A message is no string, or holds nothing to read.
        """
        if isinstance(texts, str):
            raise ClassifierError("classify_many was given one string; give a list of messages, or use classify.")
        running: tuple[_Window, list[Future[Any]]] | None = None
        try:
            for chunk in _windows(texts):
                window = self._read_window(chunk, return_errors)
                futures = [self._pool.submit(self._run, feed) for feed in window.feeds()]
                # The results of a batch are made while others run, of this window and of the next.
                ready, running = running, (window, futures)
                if ready:
                    yield from self._results(ready[0], (future.result() for future in ready[1]))
            if running:
                yield from self._results(running[0], (future.result() for future in running[1]))
        finally:
            for future in running[1] if running else []:
                future.cancel()

    def probabilities(self, texts: Sequence[str]) -> list[dict[str, dict[str, float]]]:
        """Only the calibrated probabilities of some messages, without routes: for explanations and measurements.

        Args:
            texts: The messages.

        Raises:
            ClassifierError: A message is no string, or holds nothing to read.
        """
        window = self._read_window(texts, return_errors=False)
        # What reads the same is run once: to a tokenizer of small letters, changes of case are none.
        distinct = {tuple(encoding.ids): encoding for encoding in window.encodings}
        longest, total = max(map(len, distinct)), sum(map(len, distinct))
        feeds = replace(window, encodings=list(distinct.values())).feeds(
            min(BATCH_TOKENS, longest + total // self.threads)  # work for every core
        )
        runs = list(self._aside.map(self._run, feeds))
        found = dict(zip(distinct, self._calibrated([values for values, _ in runs]), strict=True))
        read = dict(zip(window.ordered, window.encodings, strict=True))
        return [found[tuple(read[text].ids)] for text in texts]

    def part_read(self, text: str) -> str:
        """The beginning of a message that the model reads: all of it, unless the result says truncated."""
        clean = self._clean(text)
        encoding = self._tokenizer.encode(clean)
        return text if not encoding.overflowing and clean == text else text[: max(end for _, end in encoding.offsets)]

    def _run(self, feed: Mapping[str, NDArray[Any]]) -> tuple[list[NDArray[np.float32]], float]:
        """Logits of each task, (batch, labels), and the seconds that they took."""
        started = time.perf_counter()
        values = self._session.run(list(self.tasks.task_names), feed)
        return values, time.perf_counter() - started

    def _read_window(self, texts: Sequence[str], return_errors: bool) -> _Window:
        """Tokenize messages, each distinct one once; see `classify_many` for the errors."""
        started = time.perf_counter()
        clean: dict[str, str] = {}
        errors: dict[int, ClassifierError] = {}
        for index, text in enumerate(texts):
            try:
                if not isinstance(text, str) or text not in clean:
                    clean[text] = self._clean(text)
            except ClassifierError as error:
                errors[index] = error
        encodings = self._tokenizer.encode_batch_fast(list(clean.values())) if clean else []
        found = {
            text: encoding for text, encoding in zip(clean, encodings, strict=True) if len(encoding) > SPECIAL_TOKENS
        }
        for index, text in enumerate(texts):
            if index not in errors and text not in found:
                errors[index] = ClassifierError(f"The message {text[:40]!r} holds nothing to read; write a few words.")
        if errors and not return_errors:
            raise errors[min(errors)]
        ordered = sorted(found, key=lambda text: len(found[text]), reverse=True)
        cut = [len(text) > len(clean[text]) or bool(found[text].overflowing) for text in ordered]
        seconds = (time.perf_counter() - started) / len(texts)
        return _Window(texts, ordered, [found[text] for text in ordered], cut, errors, seconds)

    def _with_doubt(self, text: str, result: Result) -> Result:
        """The result with its route decided again, knowing whether it is fragile."""
        started = time.perf_counter()
        fragile = is_fragile(self.part_read(text), result.probabilities, self.probabilities, self.policy)
        route = self.policy.route(result.probabilities, text, fragile=fragile)
        spent = 1000 * (time.perf_counter() - started)
        latency = {**result.latency_ms, "doubt": spent, "total": result.latency_ms["total"] + spent}
        return replace(result, route=route, latency_ms=latency)

    def _clean(self, text: str) -> str:
        """The message as the tokenizer can take it, cut where the model's limit is surely passed."""
        if not isinstance(text, str):
            raise ClassifierError(f"A message is {type(text).__name__} ({text!r:.40}); expected a string.")
        # Lone surrogates are no text and cannot be encoded; '?' stands for each.
        limit = self.folder.max_tokens * CHARACTERS_PER_TOKEN
        return text[:limit].encode("utf-8", "replace").decode("utf-8")

    def _results(
        self, window: _Window, runs: Iterable[tuple[Sequence[NDArray[np.float32]], float]]
    ) -> Iterator[Result | ClassifierError]:
        """Results of a window in the order of its texts, from the logits of its batches and the seconds they took."""
        made: dict[str, Result] = {}
        messages = zip(window.ordered, window.encodings, window.cut, strict=True)
        for values, took in runs:
            shares = self._calibrated([values])
            tokenize, model = 1000 * window.tokenize_seconds, 1000 * took / len(values[0])
            for probabilities, (text, encoding, cut) in zip(shares, messages, strict=False):
                started = time.perf_counter()
                route = self.policy.route(probabilities, text)
                routed = 1000 * (time.perf_counter() - started)
                made[text] = Result(
                    labels={task: max(own, key=own.__getitem__) for task, own in probabilities.items()},
                    probabilities=probabilities,
                    route=route,
                    tokens=len(encoding),
                    truncated=cut,
                    latency_ms={
                        "tokenize": tokenize,
                        "model": model,
                        "route": routed,
                        "total": tokenize + model + routed,
                    },
                    model=self.model,
                )
        for index, text in enumerate(window.texts):
            yield window.errors[index] if index in window.errors else made[text]

    def _calibrated(self, batches: Sequence[Sequence[NDArray[np.float32]]]) -> Iterator[dict[str, dict[str, float]]]:
        """Task to label to probability, for each message of the batches, from each task's logits, (batch, labels)."""
        for batch in batches:
            shares = [
                _softmax(values / self.folder.temperatures[task.name]).tolist()
                for task, values in zip(self.tasks.tasks, batch, strict=True)
            ]
            for row in zip(*shares, strict=True):
                yield {
                    task.name: dict(zip(task.label_names, values, strict=True))
                    for task, values in zip(self.tasks.tasks, row, strict=True)
                }

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


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread a run: batches side by side use the cores twice as well as threads that share a batch,
    # which wait for each other at every product.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes have no public name
        raise ClassifierError(
            f"{str(path)!r} is no usable ONNX model ({error}); export or download the model again."
        ) from error


def _windows(texts: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive messages, at most WINDOW, and no more behind the one that passes WINDOW_CHARACTERS."""
    window: list[str] = []
    characters = 0
    for text in texts:
        window.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if len(window) == WINDOW or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities, (messages, labels)."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return (shifted / shifted.sum(-1, keepdims=True)).astype(np.float64)
