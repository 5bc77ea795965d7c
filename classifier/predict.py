"""Serving: a model folder becomes a `Classifier` on ONNX Runtime and tokenizers, without torch."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from .calibrated import CalibratedSoftmax
from .changes import decider, is_fragile
from .errors import ClassifierError
from .folder import CALIBRATION, CONFIG, EMBEDDED, TOKENIZER, WORDS, ModelFolder
from .policy import Policy
from .result import Result
from .session import available_cores, open_session
from .windows import BATCH_TOKENS, Reader, Window, windows

#: From this size of the ONNX file on, two cores share a single message: its time goes into fetching the weights from
#: memory, which two do 1.4 times as fast (66 M parameters in int8). With the embedded model they gain nothing.
LARGE_FILE = 40_000_000


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
        self._session, self._onnx_file = open_session(path), path
        shared = self.threads > 1 and path.stat().st_size >= LARGE_FILE
        self._single_session = open_session(path, cores=2) if shared else self._session
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
        self._reader = Reader(folder.path, folder.max_tokens)
        self._probabilities = CalibratedSoftmax(self.tasks, folder.temperatures)

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

    def use_policy(self, policy: Policy) -> None:
        """Route by another policy than the model folder's from now on.

        Args:
            policy: The policy.

        Raises:
            ClassifierError: It names tasks or labels that this model does not have.
        """
        policy.check(self.tasks)
        self.policy = policy

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
        window = self._reader.read([text])
        (result,) = self._results(window, [self._run(feed, self._single_session) for feed in window.feeds()])
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
        running: tuple[Window, list[Future[Any]]] | None = None
        try:
            for chunk in windows(texts):
                window = self._reader.read(chunk, return_errors=return_errors)
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
        window = self._reader.read(texts)
        # What reads the same is run once: to a tokenizer of small letters, changes of case are none.
        distinct = {tuple(encoding.ids): encoding for encoding in window.encodings}
        longest, total = max(map(len, distinct)), sum(map(len, distinct))
        feeds = replace(window, encodings=list(distinct.values())).feeds(
            min(BATCH_TOKENS, longest + total // self.threads)  # work for every core
        )
        runs = list(self._aside.map(self._run, feeds))
        found = dict(zip(distinct, chain.from_iterable(self._probabilities(values) for values, _ in runs), strict=True))
        read = dict(zip(window.ordered, window.encodings, strict=True))
        return [found[tuple(read[text].ids)] for text in texts]

    def slips(self, text: str) -> list[tuple[str, str]]:
        """Words of a message that are read as others, for their spelling: each with what it is read as."""
        return self._reader.slips(text)

    def part_read(self, text: str) -> str:
        """The beginning of a message that the model reads: all of it, unless the result says truncated."""
        return self._reader.part_read(text)

    def _run(
        self, feed: Mapping[str, NDArray[Any]], session: InferenceSession | None = None
    ) -> tuple[list[NDArray[np.float32]], float]:
        """Logits of each task, (batch, labels), and the seconds that they took."""
        started = time.perf_counter()
        values = (session or self._session).run(list(self.tasks.task_names), feed)
        return values, time.perf_counter() - started

    def _with_doubt(self, text: str, result: Result) -> Result:
        """The result with its route decided again, knowing whether it is fragile."""
        started = time.perf_counter()
        read = self.part_read(text)
        decide = decider(self.policy, rest=text[len(read) :])
        fragile = is_fragile(read, result.probabilities, self.probabilities, decide)
        route = self.policy.route(result.probabilities, text, fragile=fragile)
        spent = 1000 * (time.perf_counter() - started)
        latency = {**result.latency_ms, "doubt": spent, "total": result.latency_ms["total"] + spent}
        return replace(result, route=route, latency_ms=latency)

    def _results(
        self, window: Window, runs: Iterable[tuple[Sequence[NDArray[np.float32]], float]]
    ) -> Iterator[Result | ClassifierError]:
        """Results of a window in the order of its texts, from the logits of its batches and the seconds they took."""
        made: dict[str, Result] = {}
        messages = zip(window.ordered, window.encodings, window.cut, strict=True)
        for values, took in runs:
            shares = self._probabilities(values)
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

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the files that answer. The policy is not among them."""
        files = [self.folder.path / name for name in (CONFIG, CALIBRATION, TOKENIZER, WORDS)]
        content = hashlib.sha256()
        for file in (*files, self._onnx_file):
            if file.is_file():
                content.update(hashlib.sha256(file.read_bytes()).digest())
        return content.hexdigest()[:16]

    @property
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
