"""An evaluation as people read it: tables, plots, robustness, and patterns of errors with examples."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .evaluate import BINS, OVERALL, evaluate, score
from .examples import MISSING, Examples, deduplicate, noisy_copy
from .folder import write_json
from .predict import Classifier
from .scores_table import labels_table, patterns_table, scores_table

#: Messages shown for each pattern.
SHOWN = 3

#: What may make a message hard, as seen from its text.
PATTERNS: dict[str, re.Pattern[str]] = {
    "negation": re.compile(r"\b(not|never|no|none|without|cannot|\w+n['’]?t)\b", re.I),
    "contrast": re.compile(r"\b(but|although|though|however|yet|instead|despite|except)\b", re.I),
    "comparison": re.compile(r"\b(than|compared|versus|vs|better|worse)\b", re.I),
    "capitals": re.compile(r"\b[A-Z]{3,}\b.*\b[A-Z]{3,}\b", re.S),
    "sarcasm marks": re.compile(
        r"\b(yeah right|oh great|thanks for nothing|bravo|wow|lovely|congrat\w*)\b|/s\b|🙄", re.I
    ),
    "mixed signals": re.compile(
        r"\b(thanks?|thank you|love|great|good|nice|please)\b.*\b(bad|worst|wrong|broken|fail\w*|hate|angry|problem)\b"
        r"|\b(bad|worst|wrong|broken|fail\w*|hate|angry|problem)\b.*\b(thanks?|love|great|good|nice)\b",
        re.I | re.S,
    ),
    "very short": re.compile(r"^\W*(\w+\W+){0,3}\w*\W*$"),
}


def evaluation_report(
    classifier: Classifier, examples: Examples, *, seed: int = 0, noisy: bool = False
) -> dict[str, Any]:
    """Score a serving classifier on labelled messages.

    Args:
        classifier: The model.
        examples: The messages.
        seed: Seed of the bootstrap and of the noise.
        noisy: Also score a fixed noisy copy.

    Returns:
        What `evaluate.evaluate` gives. Under ``"overall"`` also `latency_ms` (median and 95th percentile of
        up to 200 single messages) and, if asked for, `robustness`: per task accuracy `clean`, `noisy`, `gap`, and
        `all_right_noisy`, like `all_right`.
    """
    probabilities = score(classifier, examples.texts)
    found = evaluate(probabilities, examples.labels, classifier.tasks, seed=seed, policy=classifier.policy)
    times = [classifier.classify(text).latency_ms["total"] for text in examples.texts[:200]]
    found[OVERALL]["latency_ms"] = {
        "median": round(statistics.median(times), 3),
        "p95": round(float(np.percentile(times, 95)), 3),
        "n": len(times),
    }
    if noisy:
        copy = noisy_copy(examples, classifier.tasks, seed=seed)
        scored = evaluate(score(classifier, copy.texts), copy.labels, classifier.tasks, seed=seed)
        found[OVERALL]["robustness"] = {
            name: {"clean": clean, "noisy": dirty, "gap": clean - dirty}
            for name, clean, dirty in (
                (name, found[name]["accuracy"], scored[name]["accuracy"]) for name in found if name != OVERALL
            )
        }
        found[OVERALL]["all_right_noisy"] = scored[OVERALL]["all_right"]
    return found


def with_baselines(
    found: Mapping[str, Any], classifier: Classifier, examples: Examples, train: Examples, base: str | None = None
) -> dict[str, Any]:
    """Add under ``"overall"`` what baselines reach on the same messages, as `baselines`.

    Args:
        found: What `evaluation_report` found.
        classifier: The model, for its tasks and policy.
        examples: The messages.
        train: What the baselines learn from; messages that are also in `examples` are left out.
        base: Encoder of the baseline on frozen vectors; left out if None.
    """
    from .baselines import baselines

    answers = baselines(deduplicate(train, [examples]), examples.texts, classifier.tasks, base=base)
    scored = {
        name: evaluate(shares, examples.labels, classifier.tasks, policy=classifier.policy)
        for name, shares in answers.items()
    }
    return {**found, OVERALL: {**found[OVERALL], "baselines": scored}}


def error_patterns(texts: list[str], predicted: Any, truth: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Misclassified messages of a task by pattern.

    Args:
        texts: The messages, (n,).
        predicted: Predicted label indices, (n,).
        truth: True ones, (n,), MISSING where a message has none.
        names: The labels.

    Returns:
        Per pattern, and for all messages, `n`, `errors`, `rate`, and `examples` (text, truth, answer).
    """
    known = np.asarray(truth) != MISSING
    found = {}
    for pattern, expression in {"all messages": re.compile(""), **PATTERNS}.items():
        rows = [row for row in np.flatnonzero(known) if expression.search(texts[row])]
        wrong = [row for row in rows if predicted[row] != truth[row]]
        found[pattern] = {
            "n": len(rows),
            "errors": len(wrong),
            "rate": len(wrong) / len(rows) if rows else None,
            "examples": [
                {"text": texts[row], "truth": names[truth[row]], "answer": names[predicted[row]]}
                for row in wrong[:SHOWN]
            ],
        }
    return found


def write_report(folder: str | Path, found: Mapping[str, Any], classifier: Classifier, examples: Examples) -> Path:
    """Write report.md with its plots, and report.json, which under ``"overall"`` also holds the patterns of errors.

    Args:
        folder: Where to; made if it is not there.
        found: What `evaluation_report` found.
        classifier: The model.
        examples: The messages.

    Returns:
        The Markdown file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    probabilities = score(classifier, examples.texts)
    lines = [f"# Evaluation of {classifier.model['id']}", "", scores_table(found)]
    patterns = {}
    for task in classifier.tasks.tasks:
        if task.name not in found:
            continue
        truth = examples.labels[task.name]
        predicted = probabilities[task.name].argmax(1)
        patterns[task.name] = error_patterns(examples.texts, predicted, truth, task.label_names)
        plot_task(folder / f"{task.name}.png", task.label_names, found[task.name], probabilities[task.name], truth)
        lines += ["", f"## {task.name}", "", f"![confusion matrix and calibration]({task.name}.png)", ""]
        lines += [*labels_table(found[task.name]), "", *patterns_table(patterns[task.name])]
    write_json(folder / "report.json", {**found, OVERALL: {**found[OVERALL], "patterns": patterns}})
    (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "report.md"


def plot_task(file: Path, names: tuple[str, ...], scores: Mapping[str, Any], probabilities: Any, truth: Any) -> None:
    """Draw the confusion matrix (row shares, with counts) and the reliability diagram of a task as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    table = np.array(scores["confusion"])
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    left.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 20:
        left.set_xticks(range(len(names)), names, rotation=30, ha="right")
        left.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(table):
            left.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                color="white" if shares[row, column] > 0.5 else "black",
            )
    left.set(xlabel="answer", ylabel="truth", title=f"{scores['accuracy']:.1%} of {scores['n']} right")
    known = truth != MISSING
    confidence, hit = probabilities[known].max(1), probabilities[known].argmax(1) == truth[known]
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [bin for bin in range(BINS) if np.any(place == bin)]
    right.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    right.plot(
        [confidence[place == bin].mean() for bin in bins], [hit[place == bin].mean() for bin in bins], marker="o"
    )
    right.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    right.set_title(f"expected calibration error {scores['ece']:.3f}")
    figure.savefig(file, dpi=100)
