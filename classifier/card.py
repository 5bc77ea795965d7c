"""The model card: written from what the model folder itself says. What is unknown is left out, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from .folder import CARD, REPORT, ModelFolder, read_json

#: Stands in generated cards. A README.md without it was written by hand and is left alone.
MARK = "<!-- Written by `python -m classifier push`. Remove this line to keep changes made by hand. -->"

#: Figures of a task in the report, with the names that the Hub and people know them by.
METRICS = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "ece": "Expected calibration error"}
HUB_METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "ece": "ece"}


def write_card(folder: ModelFolder, repo: str) -> None:
    """Write README.md into a model folder, unless there is one that was written by hand.

    Args:
        folder: The model folder; its report.json gives the figures, if there is one.
        repo: Name of the repository that the snippets load, owner/name.
    """
    path = folder.path / CARD
    if path.is_file() and MARK not in path.read_text(encoding="utf-8"):
        return
    path.write_text(model_card(folder, repo), encoding="utf-8")


def model_card(folder: ModelFolder, repo: str) -> str:
    """The card's Markdown, metadata first.

    Args:
        folder: The model folder.
        repo: Name of the repository, owner/name.
    """
    report = read_json(folder.path / REPORT) if (folder.path / REPORT).is_file() else {}
    sections = [
        f"---\n{_metadata(folder, report, repo)}\n---",
        MARK,
        f"# {folder.tasks.title}: {', '.join(folder.tasks.task_names)}",
        f"One DistilBERT encoder with one small head per task answers {len(folder.tasks.tasks)} question(s) about a "
        "message in a single pass, with calibrated probabilities.",
        "\n".join(_labels(folder)),
        _usage(folder, repo),
        "\n".join(_results(report)),
        "\n".join(_training(folder)),
        "\n".join(_limits(folder)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _metadata(folder: ModelFolder, report: Mapping[str, Any], repo: str) -> str:
    config = folder.config
    results = [
        EvalResult(
            task_type="text-classification",
            task_name=task,
            dataset_type=dataset["type"],
            dataset_name=f"{dataset['name']} ({task})",
            dataset_config=task,
            metric_type=HUB_METRICS[metric],
            metric_name=METRICS[metric],
            metric_value=round(value, 4),
        )
        for dataset in [_dataset(report)]
        for task, figures in _figures(report)
        for metric, value in figures.items()
    ]
    data = ModelCardData(
        language="en",
        license=config.get("license"),
        base_model=config.get("base_model") if _on_hub(config.get("base_model")) else None,
        datasets=[name for name in config.get("datasets") or () if _on_hub(name)] or None,
        pipeline_tag="text-classification",
        tags=["text-classification", "multi-task", "distilbert", "onnx", folder.tasks.name],
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=repo.split("/")[-1] if results else None,
        eval_results=results or None,
    )
    return data.to_yaml().strip()


def _on_hub(name: object) -> bool:
    """Whether a name can be one of the Hub's, rather than a path."""
    return isinstance(name, str) and re.fullmatch(r"([\w-][\w.-]*/)?[\w-][\w.-]*", name) is not None


def _dataset(report: Mapping[str, Any]) -> dict[str, str]:
    name = report.get("data")
    name = name if isinstance(name, str) else "held-out messages"
    return {"name": name, "type": name if _on_hub(name) else "custom"}


def _figures(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    """Each task of the report and those of its figures that are known."""
    for task, values in (report.get("tasks") or {}).items():
        yield task, {name: values[name] for name in METRICS if isinstance(values.get(name), (int, float))}


def _labels(folder: ModelFolder) -> Iterator[str]:
    for task in folder.tasks.tasks:
        yield f"**{task.name}**: {task.question}\n"
        yield "| label | when |\n|---|---|"
        yield from (f"| {label.name} | {label.description} |" for label in task.labels)
        yield ""


def _usage(folder: ModelFolder, repo: str) -> str:
    message = (folder.tasks.examples or ("Hello, could you help me, please?",))[0]
    template = (Path(__file__).parent / "templates/usage.md").read_text(encoding="utf-8").strip()
    return template.replace("{repo}", repo).replace("{message}", message.replace("\\", "\\\\").replace('"', '\\"'))


def _results(report: Mapping[str, Any]) -> Iterator[str]:
    rows = list(_figures(report))
    if not rows:
        return
    shown = [name for name in METRICS if any(name in figures for _, figures in rows)]
    yield f"## Results\n\nOn {_dataset(report)['name']}; the interval is the accuracy's, at 95 % confidence.\n"
    yield f"| task | {' | '.join(METRICS[name] for name in shown)} | 95 % interval | messages |"
    yield f"|---|{'---|' * len(shown)}---|---|"
    for task, figures in rows:
        values = report["tasks"][task]
        cells = [f"{figures[name]:.3f}" if name in figures else "" for name in shown]
        interval = values.get("interval")
        cells.append(f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "")
        yield f"| {task} | {' | '.join(cells)} | {values.get('n', '')} |"


def _training(folder: ModelFolder) -> Iterator[str]:
    config = folder.config
    libraries = ", ".join(f"{name} {number}" for name, number in (config.get("libraries") or {}).items())
    facts = {
        "Base model": config.get("base_model"),
        "Data sets": ", ".join(config.get("datasets") or ()),
        "Hash of the training data": config.get("data_hash"),
        "Libraries": libraries,
    }
    known = {name: value for name, value in facts.items() if value}
    if known:
        yield "## Training\n"
        yield from (f"- {name}: {value}" for name, value in known.items())


def _limits(folder: ModelFolder) -> Iterator[str]:
    yield "## Limits\n"
    yield f"- Reads the first {folder.max_tokens} tokens of a message; the result says when one was cut."
    yield "- Probabilities are estimates. Let people check what is costly to get wrong."
    yield "- Trained on English messages; other languages were not measured."
