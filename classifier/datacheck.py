"""A look at training data before a run: how much there is, what is uneven, how long it will take, what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import hf_hub_download

from .data import MISSING, DataReport, Examples, concatenate, deduplicate, describe, read_examples
from .desks import desk
from .errors import ClassifierError
from .folder import CONFIG, read_json, write_json
from .hub_errors import explained
from .settings import TrainSettings
from .splits import split
from .tables import read_table
from .tasks import Label, Task, TaskSet

#: Below these a label is hardly learned.
FEW_EXAMPLES, SMALL_SHARE = 20, 0.02

#: A task declared from a column has at most this many labels; more are rather numbers or names.
MOST_LABELS = 60

#: Characters of English text per token of BERT's vocabulary, and the two special tokens.
CHARACTERS_PER_TOKEN, SPECIAL_TOKENS = 4.3, 2


@dataclass(frozen=True)
class Hardware:
    """A machine to rent.

    Attributes:
        name: Its flavour on the Hub.
        title: Its name for people.
        dollars_per_hour: List price; None where it isn't known.
        flops: Floating-point operations per second that training is assumed to reach.
        step_seconds: Least time of one optimizer step, which small models on GPUs run into.
    """

    name: str
    title: str
    dollars_per_hour: float | None
    flops: float
    step_seconds: float


#: Rough: the CPU's speed is assumed, those of GPUs are a quarter of the peak in the precision that training
#: would use there. Prices are the Hub's list prices for Spaces.
HARDWARE = (
    Hardware("cpu-basic", "CPU basic, 2 cores", 0.0, 60e9, 0.0),
    Hardware("cpu-upgrade", "CPU upgrade, 8 cores", 0.03, 200e9, 0.0),
    Hardware("t4-small", "NVIDIA T4", 0.40, 0.25 * 8.1e12, 0.04),
    Hardware("l4x1", "NVIDIA L4", 0.80, 0.25 * 121e12, 0.03),
    Hardware("a10g-small", "NVIDIA A10G", 1.00, 0.25 * 70e12, 0.03),
    Hardware("a100-large", "NVIDIA A100", 2.50, 0.25 * 312e12, 0.03),
)


@dataclass(frozen=True)
class DataCheck:
    """What was found.

    Attributes:
        tasks: The task set.
        train: What would be trained on.
        validation: What would be held out.
        found: Rows read and dropped, as counts.
        summary: Size, lengths and label shares of the training part.
        warnings: What may go wrong, a sentence each.
    """

    tasks: TaskSet
    train: Examples
    validation: Examples
    found: DataReport
    summary: Mapping[str, Any]
    warnings: tuple[str, ...]


def read_tasks(name: str) -> TaskSet:
    """A desk's task set, or one from a JSON file; raises ClassifierError when there is none."""
    return TaskSet.from_dict(read_json(Path(name))) if name.endswith(".json") else desk(name)


def declare_tasks(path: str | Path, columns: Mapping[str, str], out: Path) -> TaskSet:
    """Write the declaration of a task set for a table of one's own: a task per column, its values the labels.

    Args:
        path: The table.
        columns: Task name to column.
        out: The JSON file to write.

    Raises:
        ClassifierError: A column has a single value, or so many that it holds no labels.
    """
    table = read_table(path)
    tasks = []
    for name, column in columns.items():
        if column not in table:
            raise ClassifierError(f"The table has no column {column!r}; it has {', '.join(table)}.")
        labels = sorted({str(value).strip() for value in table[column] if value is not None and str(value).strip()})
        if len(labels) > MOST_LABELS:
            raise ClassifierError(
                f"Column {column!r} has {len(labels)} different values; a task has at most {MOST_LABELS} labels. "
                "Choose a column that holds labels."
            )
        tasks.append(Task(name, f"What is the {name.replace('_', ' ')}?", tuple(Label(label) for label in labels)))
    declared = TaskSet("own", "Own labels", tuple(tasks))
    write_json(out, declared.to_dict())
    return declared


def check_data(settings: TrainSettings) -> DataCheck:
    """Read, clean and split the data as training would.

    Raises:
        ClassifierError: The data cannot be read or split; the message says why.
    """
    tasks, found = read_tasks(settings.tasks), DataReport()
    parts = [
        read_examples(source.path, tasks, columns=source.columns, weight=source.weight, report=found)
        for source in settings.data
    ]
    held_out = [read_examples(path, tasks) for path in (settings.validation, settings.dev) if path is not None]
    train = deduplicate(concatenate(parts), held_out, found)
    if settings.validation is None:
        train, validation = split(train, tasks, settings.validation_share, seed=settings.seed)
    else:
        validation = deduplicate(held_out[0])
    summary = describe(train, tasks)
    return DataCheck(tasks, train, validation, found, summary, tuple(_warnings(train, tasks, found, settings)))


def hold_out(check: DataCheck, settings: TrainSettings, folder: Path) -> dict[str, Any]:
    """Write the held-out messages to a file, so that the run and what is compared with it later see the same ones.

    Training leaves out of its data whatever stands in that file, so the data stay where they are.

    Args:
        check: The checked data.
        settings: The settings that they were checked for.
        folder: Where to write.

    Returns:
        The settings' values with that file as the validation file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "validation.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row, text in enumerate(check.validation.texts):
            labels = {task.name: int(check.validation.labels[task.name][row]) for task in check.tasks.tasks}
            named = {
                task.name: task.label_names[labels[task.name]]
                for task in check.tasks.tasks
                if labels[task.name] != MISSING
            }
            file.write(json.dumps({"text": text, **named}, ensure_ascii=False) + "\n")
    return {**json.loads(settings.model_dump_json()), "validation": str(path)}


def estimate(check: DataCheck, settings: TrainSettings, parameters: int) -> list[tuple[Hardware, float, float | None]]:
    """Time and cost of a run on each hardware, to the order of magnitude.

    Training takes six operations per token and parameter (Kaplan et al. 2020, arXiv:2001.08361).

    Args:
        check: The checked data.
        settings: The run's settings.
        parameters: Parameters of the encoder's layers, embeddings left out.

    Returns:
        Hardware, seconds and dollars; None where the price isn't known.
    """
    tokens = sum(
        min(len(text) / CHARACTERS_PER_TOKEN + SPECIAL_TOKENS, settings.max_tokens) for text in check.train.texts
    )
    per_epoch = max(len(check.train) // settings.batch_size, 1)
    steps = min(settings.epochs * per_epoch, settings.max_steps or settings.epochs * per_epoch)
    operations = 6 * parameters * tokens / per_epoch * (2 if settings.r_drop else 1)
    rows = []
    for hardware in HARDWARE:
        seconds = steps * max(operations / hardware.flops, hardware.step_seconds)
        price = hardware.dollars_per_hour
        rows.append((hardware, seconds, None if price is None else seconds / 3600 * price))
    return rows


def encoder_config(base: str) -> dict[str, Any]:
    """The config.json of an encoder.

    Args:
        base: A folder, or the name of a Hub repository.

    Raises:
        ClassifierError: It cannot be had.
    """
    if Path(base).is_dir():
        return read_json(Path(base) / CONFIG)
    with explained(f"read the size of {base}"):
        return read_json(Path(hf_hub_download(base, CONFIG)))


def encoder_parameters(config: Mapping[str, Any]) -> int:
    """Parameters of a BERT's or DistilBERT's layers, from its config.json."""
    layers, width = (
        config.get("n_layers", config.get("num_hidden_layers")),
        config.get("dim", config.get("hidden_size")),
    )
    inner = config.get("intermediate_size") if "intermediate_size" in config else config.get("hidden_dim")
    if not (isinstance(layers, int) and isinstance(width, int) and isinstance(inner, int)):
        raise ClassifierError("The encoder's config.json names no layers and sizes; choose a BERT or DistilBERT.")
    return layers * (4 * width * width + 2 * width * inner)


def _warnings(train: Examples, tasks: TaskSet, found: DataReport, settings: TrainSettings) -> Iterator[str]:
    for task in tasks.tasks:
        known = train.labels[task.name][train.labels[task.name] != MISSING]
        if not len(known):
            yield f"No message has a label of {task.name}; the model cannot learn it."
            continue
        if len(known) < len(train):
            yield f"{len(train) - len(known):,} of {len(train):,} messages have no label of {task.name}."
        for label, count in zip(task.label_names, np.bincount(known, minlength=len(task.labels)), strict=True):
            if count == 0:
                yield f"{task.name}: no message is {label}; the model will never answer it."
            elif count < FEW_EXAMPLES or count / len(known) < SMALL_SHARE:
                yield f"{task.name}: only {count} messages are {label} ({count / len(known):.1%})."
    if found.conflicts:
        yield f"{found.conflicts} repeated messages are labelled differently each time; the first label counts."
    if found.held_out:
        yield f"{found.held_out} messages stand in a held-out file, too, and were left out of training."
    long = sum(len(text) > settings.max_tokens * CHARACTERS_PER_TOKEN for text in train.texts)
    if long:
        yield f"{long:,} messages are longer than about {settings.max_tokens} tokens; their ends are cut."
