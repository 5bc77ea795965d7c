"""What an evaluation found, as Markdown tables for reports and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .evaluate import OVERALL
from .slices import slices_table


def scores_table(found: Mapping[str, Any]) -> str:
    """What `evaluation_report` or `evaluate.evaluate` found, as a Markdown table with the overall lines below."""
    lines = [
        "| task | n | accuracy (95 %) | macro F1 | weighted F1 | ROC AUC | calibration error | worst class |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, scores in found.items():
        if task == OVERALL:
            continue
        worst = scores["labels"][scores["worst"]]
        auc = "" if scores["roc_auc"] is None else f"{scores['roc_auc']:.3f}"
        lines.append(
            f"| {task} | {scores['n']} | {_share(scores['accuracy'], scores['interval'])} | {scores['macro_f1']:.3f} | "
            f"{scores['weighted_f1']:.3f} | {auc} | {scores['ece']:.3f} | {scores['worst']} (F1 {worst['f1']:.2f}) |"
        )
    return "\n".join(lines + _overall_lines(found[OVERALL]))


def _overall_lines(overall: Mapping[str, Any]) -> list[str]:
    together, cost = overall["all_right"], overall["cost"]
    lines = []
    if together:
        lines += [
            "",
            f"All tasks right: {_share(together['share'], together['interval'])} of {together['n']} messages.",
        ]
    if cost:
        wrong = ", ".join(f"{action} {count}" for action, count in cost["wrong"].items())
        low, high = cost["interval"]
        lines += ["", f"Cost per message: {cost['mean']:.2f} ({low:.2f}–{high:.2f}); taken wrongly: {wrong}."]
    if "robustness" in overall:
        gaps = ", ".join(
            f"{task} {100 * gap['clean']:.1f} → {100 * gap['noisy']:.1f} %"
            for task, gap in overall["robustness"].items()
        )
        lines += ["", f"Accuracy on a noisy copy of the messages: {gaps}."]
        together = overall["all_right_noisy"]
        if together:
            lines += ["", f"All tasks right on the noisy copy: {_share(together['share'], together['interval'])}."]
    if "by" in overall:
        lines += ["", slices_table(overall["by"]["column"], overall["by"]["values"])]
    if "baselines" in overall:
        lines += ["", *_baselines_table(overall["baselines"])]
    if "latency_ms" in overall:
        times = overall["latency_ms"]
        lines += ["", f"Latency: median {times['median']:.1f} ms, 95th percentile {times['p95']:.1f} ms a message."]
    return lines


def _baselines_table(baselines: Mapping[str, Any]) -> list[str]:
    tasks = [name for name in next(iter(baselines.values())) if name != OVERALL]
    lines = [f"| baseline | {' | '.join(tasks)} | all tasks right | cost |", f"|---|{'---|' * (len(tasks) + 2)}"]
    for name, scores in baselines.items():
        together, cost = scores[OVERALL]["all_right"], scores[OVERALL]["cost"]
        cells = [_share(scores[task]["accuracy"], scores[task]["interval"]) for task in tasks]
        cells += [_share(together["share"], together["interval"]) if together else ""]
        lines.append(f"| {name} | {' | '.join(cells)} | {format(cost['mean'], '.2f') if cost else ''} |")
    return lines


def labels_table(scores: Mapping[str, Any]) -> list[str]:
    """The lines of a table with the scores of each label of a task, as `evaluate` found them."""

    def cell(label: Mapping[str, Any], score: str) -> str:
        bounds = label["intervals"][score]
        return f"{label[score]:.3f}" + (f" ({bounds[0]:.3f}–{bounds[1]:.3f})" if bounds else "")

    rows = [
        f"| {name} | {' | '.join(cell(label, score) for score in ('precision', 'recall', 'f1'))} | {label['n']} |"
        for name, label in scores["labels"].items()
    ]
    return ["| label | precision (95 %) | recall (95 %) | F1 (95 %) | n |", "|---|---|---|---|---|", *rows]


def patterns_table(patterns: Mapping[str, Any]) -> list[str]:
    """The lines of a table with the errors of each pattern, as `error_patterns` found them."""
    lines = ["| pattern | messages | errors | error rate | examples |", "|---|---|---|---|---|"]
    for name, found in patterns.items():
        examples = "; ".join(f"“{_short(row['text'])}” ({row['truth']} → {row['answer']})" for row in found["examples"])
        rate = "" if found["rate"] is None else f"{found['rate']:.1%}"
        lines.append(f"| {name} | {found['n']} | {found['errors']} | {rate} | {examples} |")
    return lines


def _short(text: str, length: int = 90) -> str:
    """A message in one line of a table."""
    flat = " ".join(text.split()).replace("|", "/")
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def _share(value: float, interval: list[float]) -> str:
    return f"{100 * value:.1f} % ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"
