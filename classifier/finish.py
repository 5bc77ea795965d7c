"""The end of a run: calibrate, export and evaluate the best weights, and write the report."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from .calibrate import cross_validated_ece, fit_temperatures
from .card import write_card
from .checkpoint import Progress, replace_folder
from .evaluate import OVERALL, evaluate
from .examples import Examples, noisy_copy
from .export import write_onnx, write_trained
from .folder import CARD, ONNX_INT8, POLICY, REPORT, WORDS, ModelFolder, read_json, write_json
from .hub import model_folder
from .logits import answers, predict_logits
from .model import MultiTaskDistilBert, MultiTaskModel
from .predict import Classifier
from .prepare import Prepared
from .report import evaluation_report
from .runlog import read_log
from .settings import TrainSettings
from .spelling import Spelling, collect_words
from .tasks import TaskSet
from .verify import BAR, verify

#: Characters of the messages that the ranges of int8 are taken from, about 30,000 tokens. Their activations take two
#: gigabytes with the embedded model's encoder; its last layer is seen with the first token of each message only.
SAMPLE_CHARACTERS = 120_000


def finish(
    settings: TrainSettings,
    prepared: Prepared,
    model: MultiTaskModel,
    tokenizer: Tokenizer,
    progress: Progress,
    out: Path,
) -> None:
    """Calibrate, export and evaluate the best weights.

    What is evaluated is what will serve: the exported int8 model with its temperatures; of a teacher, which
    nobody serves, the trained model. The model folder `out` is written aside and then put in the place of an
    earlier one.
    """
    model.cpu()
    held_out = {"validation": prepared.validation, **({} if prepared.dev is None else {"dev": prepared.dev})}
    last, calibration = list(held_out.items())[-1]
    served = isinstance(model, MultiTaskDistilBert)
    words = _words(settings, prepared.train.texts) if served else None
    # As they will be read: a temperature belongs to what is served.
    spelling = Spelling(words["learned"], words["others"], tokenizer.get_vocab()) if words else Spelling()
    texts = [spelling.correct(text) for text in calibration.texts]
    logits = predict_logits(model, tokenizer, texts, settings.max_tokens)
    own = {name: logits[name] for name in prepared.tasks.task_names}
    copies = {
        f"{name}_{kind}": copy
        for name, examples in held_out.items()
        for kind, copy in (("clean", examples), ("noisy", noisy_copy(examples, prepared.tasks)))
    }
    report = {
        "training": _training(settings, progress),
        "data": prepared.report,
        "calibration": {"on": last, "tasks": cross_validated_ece(own, calibration.labels)},
    }

    def write(folder: Path) -> None:
        temperatures = fit_temperatures(own, calibration.labels)
        write_trained(
            folder,
            model,
            prepared.tasks,
            tokenizer,
            max_tokens=settings.max_tokens,
            temperatures=temperatures,
            data_hash=prepared.report["train"]["hash"],
        )
        if words:
            write_json(folder / WORDS, words)
        if not settings.epochs:  # the policy may be the desk's own by now
            base = ModelFolder.read(model_folder(settings.base, settings.revision))
            write_json(folder / POLICY, base.policy.to_dict())
        if isinstance(model, MultiTaskDistilBert):
            samples = sample_texts(prepared.train.texts, settings.seed)
            write_onnx(folder, model, prepared.tasks, tokenizer, max_tokens=settings.max_tokens, samples=samples)
            write_json(folder / REPORT, {**report, **_served(folder, model, tokenizer, copies)})
            if (out / CARD).is_file():
                shutil.copyfile(out / CARD, folder / CARD)  # one that was written by hand stays
            write_card(ModelFolder.read(folder), f"your-name/{out.name}")
        else:
            found = _taught(model, tokenizer, temperatures, settings.max_tokens, prepared.tasks, copies)
            write_json(folder / REPORT, {**report, **found})

    replace_folder(out, write)


def sample_texts(texts: Sequence[str], seed: int) -> list[str]:
    """Messages that the ranges of int8 are taken from: at random, SAMPLE_CHARACTERS of them, at least one.

    Args:
        texts: The training messages.
        seed: Fixes the choice.
    """
    shuffled = random.Random(seed).sample(texts, len(texts))
    ends = itertools.accumulate(map(len, shuffled))
    return [text for text, end in zip(shuffled, ends, strict=True) if end - len(text) < SAMPLE_CHARACTERS]


def _words(settings: TrainSettings, texts: Sequence[str]) -> dict[str, Any] | None:
    """The words that serving mends slips to: those of the training messages, or of a base that is not trained on."""
    if settings.spelling is None:
        return None
    if not settings.epochs:
        base = Path(model_folder(settings.base, settings.revision)) / WORDS
        if base.is_file():
            return read_json(base)
    words = collect_words(texts, settings.spelling)
    if words is None:
        print(
            f"Most words of the messages stand in no dictionary of the language {settings.spelling!r}; spelling will "
            "not be mended. Choose another with --spelling, or none.",
            file=sys.stderr,
        )
    return words


def _served(
    folder: Path, model: MultiTaskDistilBert, tokenizer: Tokenizer, copies: Mapping[str, Examples]
) -> dict[str, Any]:
    """How the int8 model of a folder compares with the trained one, and scores."""
    served = Classifier.load(folder)
    return {
        "int8": _proof(folder, model, tokenizer, [text for examples in copies.values() for text in examples.texts]),
        "evaluation": {name: _form(evaluation_report(served, copy), copy) for name, copy in copies.items()},
    }


def _taught(
    model: MultiTaskModel,
    tokenizer: Tokenizer,
    temperatures: Mapping[str, float],
    max_tokens: int,
    tasks: TaskSet,
    copies: Mapping[str, Examples],
) -> dict[str, Any]:
    """How the trained model itself scores."""
    given = {name: answers(model, tokenizer, copy.texts, max_tokens, temperatures) for name, copy in copies.items()}
    return {
        "evaluation": {name: _form(evaluate(given[name], copy.labels, tasks), copy) for name, copy in copies.items()}
    }


def _training(settings: TrainSettings, progress: Progress) -> dict[str, Any]:
    """How the model was made; files are named without the folders of the machine that it was made on."""
    kept = json.loads(settings.model_dump_json(exclude={"out", "report_to"}))
    for source in (*kept["data"], *kept["aux"]):
        source["path"] = _name(source["path"])
    for key in ("teachers", "unlabelled"):
        kept[key] = [_name(path) for path in kept[key]]
    for key in ("tasks", "validation", "dev", "base"):
        kept[key] = kept[key] and _name(kept[key])
    return {
        "settings": kept,
        "best_step": progress.best_step,
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        **training_speed(read_log(settings.run / "log.jsonl")),
    }


def _name(path: str) -> str:
    """A local file or folder without where it stands; names on the Hub as they are.

    A folder keeps a sign of being one, since its bare name could be one of the Hub's.
    """
    found = Path(path)
    return f"./{found.name}" if found.is_dir() else found.name if found.exists() else path


def _proof(folder: Path, model: MultiTaskDistilBert, tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Any]:
    """Compare int8 with the trained model; too little agreement is said, but the finished training is kept."""
    found = verify(folder / ONNX_INT8, model, tokenizer, texts, bar=0.0, least=1)
    below = [f"{name} {task['agreement']:.2%}" for name, task in found["tasks"].items() if task["agreement"] < BAR]
    if below:
        print(
            f"The int8 model gives the trained model's label on less than {BAR:.1%} of {found['n']} messages "
            f"({', '.join(below)}). See `export --help` for more typical samples, or for the float file.",
            file=sys.stderr,
        )
    return found


def _form(found: dict[str, Any], examples: Examples) -> dict[str, Any]:
    """Scores in the form of the report."""
    overall = found.pop(OVERALL)
    return {"n": len(examples), "tasks": found, "overall": overall}


def training_speed(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median speeds and mean share of padding over a log's windows; empty without a step."""
    windows = [line for line in lines if "messages_per_second" in line]
    if not windows:
        return {}
    return {
        "messages_per_second": float(np.median([line["messages_per_second"] for line in windows])),
        "tokens_per_second": float(np.median([line["tokens_per_second"] for line in windows])),
        "padding": round(float(np.mean([line["padding"] for line in windows])), 4),
    }
