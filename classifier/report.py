"""Scores as people read them: tables, plots and patterns of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .evaluate import OVERALL


def scores_table(found: Mapping[str, Any]) -> str:
    """What `evaluate.evaluate` found, as a Markdown table with the overall lines below it."""
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
    together, cost = found[OVERALL]["all_right"], found[OVERALL]["cost"]
    if together:
        lines += [
            "",
            f"All tasks right: {_share(together['share'], together['interval'])} of {together['n']} messages.",
        ]
    if cost:
        wrong = ", ".join(f"{action} {count}" for action, count in cost["wrong"].items())
        low, high = cost["interval"]
        lines += ["", f"Cost per message: {cost['mean']:.2f} ({low:.2f}–{high:.2f}); taken wrongly: {wrong}."]
    return "\n".join(lines)


def _share(value: float, interval: list[float]) -> str:
    return f"{100 * value:.1f} % ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"
