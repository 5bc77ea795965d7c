"""Standard benchmarks with their official splits: CLINC150 with out-of-scope detection, and BANKING77.

Everything is chosen on validation; the test split is scored once, at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from .baselines import baselines
from .calibrate import fit_temperatures
from .errors import ClassifierError
from .evaluate import OVERALL, evaluate
from .examples import MISSING, Examples, describe
from .outliers import detectors, outlier_scores
from .splits import split
from .tables import read_public
from .tasks import Label, Task, TaskSet

#: How CLINC150 names messages that belong to none of its intents.
OUT_OF_SCOPE = "oos"

#: Figures that others report on the test splits; docs of each are named beside it.
PUBLISHED = {
    "clinc150": {
        "BERT-base, one pass (SNGP, uncertainty-baselines)": {"accuracy": 0.969, "ece": 0.0104, "auroc": 0.969},
        "BERT-base, one pass, plain (uncertainty-baselines)": {"accuracy": 0.965, "ece": 0.0218, "auroc": 0.942},
        "DistilBERT (student report)": {"accuracy": 0.952},
    },
    "banking77": {
        "ModernBERT-base (model card)": {"accuracy": 0.9399},
        "DistilBERT (model card)": {"accuracy": 0.925},
    },
}

#: Settings of both trainings: a common choice for encoders of this size, not searched.
SETTINGS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "layer_decay": 0.9,
    "epochs": 8,
    "batch_size": 32,
    "label_smoothing": 0.1,
    "max_tokens": 64,
    "patience": 3,
    "checkpoint_steps": 100_000,
}


@dataclass(frozen=True)
class Standard:
    """A benchmark's task set and splits. The first task is the one that is scored."""

    tasks: TaskSet
    train: Examples
    validation: Examples
    test: Examples


def load_standard(name: str, folder: str | Path | None = None, *, seed: int = 0) -> Standard:
    """Read a benchmark.

    CLINC150 ("plus") gets a second task that tells messages out of scope; these have no intent. BANKING77
    comes without a validation split: a tenth of train takes its place.

    Args:
        name: ``"clinc150"`` or ``"banking77"``.
        folder: A folder with ``<name>/<split>.jsonl.gz``; the Hub if None.
        seed: Of BANKING77's validation split.

    Raises:
        ClassifierError: There is no such benchmark, or its data cannot be found.
    """
    if name not in PUBLISHED:
        raise ClassifierError(f"There is no benchmark {name!r}; choose one of {', '.join(PUBLISHED)}.")
    names = ("train", "validation", "test") if name == "clinc150" else ("train", "test")
    parts = {part: read_public(name, part, folder) for part in names}
    column = next(column for column in ("intent", "label_text", "label") if column in parts["train"])
    labels = sorted(set(parts["train"][column]) - {OUT_OF_SCOPE})
    tasks: tuple[Task, ...] = (Task("intent", "What is it about?", tuple(Label(label) for label in labels)),)
    if OUT_OF_SCOPE in parts["train"][column]:
        tasks += (Task("scope", "Is it one of the intents?", (Label("in"), Label("out"))),)
    task_set = TaskSet(name, name.upper(), tasks)
    examples = {}
    for part, table in parts.items():
        index = {label: number for number, label in enumerate(labels)}
        intents = np.array([index.get(label, MISSING) for label in table[column]], np.int64)
        found = {"intent": intents, "scope": (intents == MISSING).astype(np.int64)}
        examples[part] = Examples(list(table["text"]), {task.name: found[task.name] for task in tasks})
    if "validation" not in examples:
        examples["train"], examples["validation"] = split(examples["train"], task_set, 0.1, seed=seed)
    return Standard(task_set, **examples)


def run_standard(
    name: str, base: str, out: Path, *, folder: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train on a benchmark's train split and score its test split once, beside baselines and published figures.

    Args:
        name: ``"clinc150"`` or ``"banking77"``.
        base: Folder or Hub name of the encoder.
        out: The run's files stand beside this path, in ``<out>.run``.
        folder: Where the data is; the Hub if None.
        overrides: Training settings to change.

    Returns:
        Plain data: ``test`` (scores as `evaluate.evaluate` gives them, of the intent), ``outliers`` (per
        detector the validation and test scores; and the ``chosen`` one), ``baselines``, ``published``,
        ``settings``, ``seconds``.

    Raises:
        ClassifierError: As `load_standard` and `train.train`.
    """
    from .logits import head_logits, pooled_vectors
    from .settings import TrainSettings
    from .train import Prepared, fit, make_accelerator

    standard = load_standard(name, folder)
    tasks = standard.tasks
    settings = TrainSettings.build(SETTINGS, {"data": [{"path": name}], "base": base, "out": out}, overrides or {})
    report = {part: describe(getattr(standard, part), tasks) for part in ("train", "validation")}
    prepared = Prepared(tasks, tasks, standard.train, standard.validation, None, report)
    model, tokenizer, progress = fit(settings, prepared, make_accelerator(settings), resume=False)
    model.cpu()
    print("scoring", file=sys.stderr)
    vectors = {
        part: pooled_vectors(model, tokenizer, getattr(standard, part).texts, settings.max_tokens)
        for part in ("train", "validation", "test")
    }
    logits = {part: head_logits(model, found) for part, found in vectors.items()}
    temperatures = fit_temperatures(logits["validation"], standard.validation.labels)
    only_intent = replace(tasks, tasks=tasks.tasks[:1])
    scored = evaluate(
        {"intent": softmax(logits["test"]["intent"] / temperatures["intent"], axis=1)},
        standard.test.labels,
        only_intent,
    )
    others = {
        baseline: evaluate(found, standard.test.labels, only_intent)["intent"]
        for baseline, found in baselines(standard.train, standard.test.texts, only_intent, base=base).items()
    }
    return {
        "benchmark": name,
        "test": {key: value for key, value in scored.items() if key != OVERALL},
        "outliers": _outliers(standard, vectors, logits, temperatures) if len(tasks.tasks) > 1 else None,
        "baselines": {baseline: _brief(found) for baseline, found in others.items()},
        "published": PUBLISHED[name],
        "settings": settings.model_dump(mode="json", exclude={"out", "report_to"}),
        "validation_score": progress.best_score,
        "seconds": round(progress.seconds, 1),
    }


def _outliers(
    standard: Standard,
    vectors: Mapping[str, NDArray[Any]],
    logits: Mapping[str, Mapping[str, NDArray[Any]]],
    temperatures: Mapping[str, float],
) -> dict[str, Any]:
    """Each detector's scores, and the one that is best on validation."""
    fitted = detectors(vectors["train"], standard.train.labels["intent"], temperatures["intent"])
    found: dict[str, Any] = {"detectors": {}}
    for name, detector in fitted.items():
        found["detectors"][name] = {
            part: outlier_scores(
                detector(vectors[part], logits[part]), getattr(standard, part).labels["intent"] == MISSING
            )
            for part in ("validation", "test")
        }
    found["chosen"] = max(fitted, key=lambda name: found["detectors"][name]["validation"]["auroc"])
    return found


def _brief(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {key: scores[key] for key in ("accuracy", "interval", "macro_f1", "ece", "n")}


def standard_table(found: Mapping[str, Any]) -> str:
    """The result of `run_standard` as Markdown tables."""
    own = found["test"]["intent"]
    low, high = own["interval"]
    chosen = found["outliers"] and found["outliers"]["detectors"][found["outliers"]["chosen"]]["test"]
    rows = {"ours": {**own, **(chosen or {})}, **found["published"], **found["baselines"]}
    lines = [f"{found['benchmark']}, official test split, {own['n']} messages:", ""]
    lines += [
        "| system | accuracy | calibration error | out-of-scope AUROC | FPR at 95 % recall |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [f"{row[key]:.4f}" if key in row else "" for key in ("accuracy", "ece", "auroc", "fpr95")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"95 % interval of our accuracy: {low:.4f}–{high:.4f}."]
    if found["outliers"]:
        lines += ["", "| detector | validation AUROC | test AUROC | test FPR at 95 % recall |", "|---|---|---|---|"]
        for name, parts in found["outliers"]["detectors"].items():
            mark = " (chosen)" if name == found["outliers"]["chosen"] else ""
            lines.append(
                f"| {name}{mark} | {parts['validation']['auroc']:.4f} | {parts['test']['auroc']:.4f} | "
                f"{parts['test']['fpr95']:.4f} |"
            )
    return "\n".join(lines)
