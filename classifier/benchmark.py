"""Speed, side by side: ways to answer the same messages with the same weights, in turn within one run."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

from .errors import ClassifierError
from .peak import operator_shares, peak_share
from .predict import Classifier
from .torch_ways import PADDED, SORTED, TORCH_SINGLE, Answers, torch_ways

#: Names of our ways.
SINGLE, BATCH, FILE = "one message at a time", "classify_many", "score, CSV to CSV"


@dataclass(frozen=True)
class Speed:
    """What one way of answering reached.

    Attributes:
        name: What it does.
        messages_per_second: Median over the rounds.
        median_ms: Median wall-clock time of a message: of single calls for the single way, else of the
            rounds, each divided by its messages.
        cpu_ms: Median processor time of a message, over all cores; hardly moved by other work on the machine.
        ratio: Messages per second, compared with the first way of the table.
        label_agreement: Share of (message, task) with the same label as the first way of the table.
    """

    name: str
    messages_per_second: float
    median_ms: float
    cpu_ms: float
    ratio: float
    label_agreement: float


def run_benchmark(
    classifier: Classifier, texts: Sequence[str], *, weights: str | None = None, rounds: int = 3
) -> dict[str, Any]:
    """Measure every way on the same messages, in an order that rotates from round to round.

    Args:
        classifier: The model; its `threads` is the number of threads of every way.
        texts: The messages.
        weights: A model folder with the float weights of the same model, for the ways in torch; without
            it, and without torch, these are left out.
        rounds: Rounds, after one short warm-up.

    Returns:
        ``model``, ``messages``, ``rounds``, ``threads``, ``speeds`` (a list of `Speed` as dictionaries),
        ``times_as_fast`` (pairs of ways), ``single_ms_while_a_file_runs`` (median), ``peak`` (share of the
        matrix-multiply peaks, where onnx is installed) and ``operators`` (share of the model's time).

    Raises:
        ClassifierError: There are no messages, or the weights cannot be used.
    """
    if not texts:
        raise ClassifierError("There are no messages to measure with; give a file with some.")
    single_ms: list[float] = []
    ways: dict[str, Callable[[Sequence[str]], Answers]] = {
        **(torch_ways(classifier, weights) if weights else {}),
        SINGLE: lambda some: _one_by_one(classifier, some, single_ms),
        BATCH: lambda some: [tuple(result.labels.values()) for result in classifier.classify_many(some)],
        FILE: lambda some: _score(classifier, some),
    }
    for way in ways.values():
        way(texts[:64])
    single_ms.clear()
    answers, wall, cpu = _in_turns(ways, texts, rounds)
    first = next(iter(ways))
    seconds = {name: statistics.median(values) for name, values in wall.items()}
    speeds = [
        Speed(
            name=name,
            messages_per_second=round(1 / seconds[name], 1),
            median_ms=round(statistics.median(single_ms) if name == SINGLE else 1000 * seconds[name], 3),
            cpu_ms=round(1000 * statistics.median(cpu[name]), 3),
            ratio=round(seconds[first] / seconds[name], 2),
            label_agreement=round(float(np.mean(np.array(answers[name]) == np.array(answers[first]))), 4),
        )
        for name in ways
    ]
    return {
        "model": classifier.model,
        "messages": len(texts),
        "rounds": rounds,
        "threads": classifier.threads,
        "speeds": [asdict(speed) for speed in speeds],
        "times_as_fast": {
            f"{ours} / {theirs}": round(seconds[theirs] / seconds[ours], 2)
            for ours, theirs in ((BATCH, PADDED), (BATCH, SORTED), (SINGLE, TORCH_SINGLE), (BATCH, SINGLE))
            if theirs in seconds
        },
        "single_ms_while_a_file_runs": round(single_while_busy(classifier, texts), 3),
        "peak": peak_share(classifier, texts, seconds[BATCH]),
        "operators": operator_shares(classifier, texts[:512]),
    }


def _in_turns(
    ways: Mapping[str, Callable[[Sequence[str]], Answers]], texts: Sequence[str], rounds: int
) -> tuple[dict[str, Answers], dict[str, list[float]], dict[str, list[float]]]:
    """Answers of every way, and per round the seconds of wall-clock and processor time that a message took."""
    answers: dict[str, Answers] = {}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            started, busy = time.perf_counter(), time.process_time()
            answers[name] = ways[name](texts)
            wall[name].append((time.perf_counter() - started) / len(texts))
            cpu[name].append((time.process_time() - busy) / len(texts))
        order = order[1:] + order[:1]
    return answers, wall, cpu


def _one_by_one(classifier: Classifier, texts: Sequence[str], milliseconds: list[float]) -> Answers:
    found = []
    for text in texts:
        started = time.perf_counter()
        # Without the fragility check, as the other ways answer.
        found.append(tuple(classifier.classify(text, check_fragile=False).labels.values()))
        milliseconds.append(1000 * (time.perf_counter() - started))
    return found


def single_while_busy(classifier: Classifier, texts: Sequence[str], calls: int = 100) -> float:
    """Median milliseconds of single messages while a file is being scored on all cores.

    Args:
        classifier: The model.
        texts: The messages, of the file and of the single calls.
        calls: Single calls to measure.
    """
    started, ended = threading.Event(), threading.Event()

    def endless() -> Iterator[str]:
        for text in cycle(texts):
            if ended.is_set():
                return
            yield text

    def score() -> None:
        for _ in classifier.classify_many(endless()):
            started.set()

    file = threading.Thread(target=score)
    file.start()
    try:
        started.wait()
        milliseconds: list[float] = []
        _one_by_one(classifier, list(islice(cycle(texts), calls)), milliseconds)
    finally:
        ended.set()
        file.join()
    return statistics.median(milliseconds)


def _score(classifier: Classifier, texts: Sequence[str]) -> Answers:
    """From a CSV file to a scored CSV file, reading and writing included."""
    from .rows import open_table
    from .score import ScoreOptions, score_file
    from .writers import write_table

    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.csv", f"{folder}/out.csv"
        write_table(["text"], lambda: iter([[text] for text in texts]), source)
        for _ in score_file(classifier, source, target, ScoreOptions(text_column="text")):
            pass
        with open_table(target, text_column="text") as scored:
            at = [scored.columns.index(task) for task in classifier.tasks.task_names]
            return [tuple(row.cells[column] for column in at) for row in scored]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    speeds = report["speeds"]
    width = max(len(speed["name"]) for speed in speeds)
    lines = [
        f"{report['messages']:,} messages, {report['rounds']} rounds, {report['threads']} threads each, "
        f"{report['model']['id']} ({report['model']['backend']})",
        "",
        f"{'':{width}}  messages/s  median ms  CPU ms   ratio  same labels",
    ]
    for speed in speeds:
        lines.append(
            f"{speed['name']:{width}}  {speed['messages_per_second']:10,.1f}  {speed['median_ms']:9.2f}  "
            f"{speed['cpu_ms']:6.2f}  {speed['ratio']:5.1f}x  {speed['label_agreement']:11.2%}"
        )
    peak = report["peak"]
    lines += ["", *(f"{pair}: {ratio:.2f} times as fast" for pair, ratio in report["times_as_fast"].items())]
    lines += [
        "",
        f"A single message while a file runs: {report['single_ms_while_a_file_runs']:.1f} ms (median).",
        f"classify_many reaches {peak['reached_gigaflops']:,.0f} billion operations per second"
        + "".join(
            f", {peak[f'share_of_{kind}_peak']:.0%} of this machine's {kind} peak "
            f"({peak[f'{kind}_peak_gigaflops']:,.0f})"
            for kind in ("int8", "float32")
            if f"share_of_{kind}_peak" in peak
        )
        + ".",
        "Of the model's time: " + ", ".join(f"{name} {share:.0%}" for name, share in report["operators"].items()),
    ]
    return "\n".join(lines)
