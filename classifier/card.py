"""The model card: written from what the model folder itself says. What is unknown is left out, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from .folder import CARD, REPORT, WEIGHTS, ModelFolder, read_json
from .sources import ENDINGS

#: Stands in generated cards. A README.md without it was written by hand and is left alone.
MARK = "<!-- Written by `python -m classifier push`. Remove this line to keep changes made by hand. -->"

#: Figures of a task in the report, with the names that the Hub and people know them by.
METRICS = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "ece": "Expected calibration error"}
HUB_METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "ece": "ece"}


def write_card(folder: ModelFolder, repo: str, license: str | None = None, notes: str = "") -> None:
    """Write README.md into a model folder, unless there is one that was written by hand.

    Args:
        folder: The model folder; its report.json gives the figures, if there is one.
        repo: Name of the repository that the snippets load, owner/name.
        license: The licence's identifier on the Hub, such as ``"apache-2.0"``; left out if None.
        notes: Markdown for what no report knows: where messages and labels come from, known weaknesses.
    """
    path = folder.path / CARD
    if path.is_file() and MARK not in path.read_text(encoding="utf-8"):
        return
    path.write_text(model_card(folder, repo, license, notes), encoding="utf-8")


def model_card(folder: ModelFolder, repo: str, license: str | None = None, notes: str = "") -> str:
    """The card's Markdown, metadata first.

    Args:
        folder: The model folder.
        repo: Name of the repository, owner/name.
        license: The licence's identifier on the Hub; left out if None.
        notes: Markdown for what no report knows, put before the limits.
    """
    report = read_json(folder.path / REPORT) if (folder.path / REPORT).is_file() else {}
    count = len(folder.tasks.tasks)
    sections = [
        f"---\n{_metadata(folder, report, repo, license)}\n---",
        MARK,
        f"# {folder.tasks.title}: {', '.join(folder.tasks.task_names)}",
        f"One DistilBERT encoder with one small head per task answers {count} question{'s' * (count != 1)} about a "
        "message in a single pass, with calibrated probabilities.",
        "\n".join(_labels(folder, report)),
        _usage(folder, repo),
        "\n".join(_results(report)),
        "\n".join(_training(folder, report)),
        notes.strip(),
        "\n".join(_limits(folder, report)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _metadata(folder: ModelFolder, report: Mapping[str, Any], repo: str, license: str | None) -> str:
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type="custom",
            dataset_name=f"{_words(name)}: {task}",
            dataset_config=task,
            dataset_split=name,
            metric_type=HUB_METRICS[metric],
            metric_name=METRICS[metric],
            metric_value=round(value, 4),
        )
        for name, tasks in _evaluations(report)
        for task, values in tasks.items()
        for metric, value in values.items()
        if metric in METRICS
    ]
    settings = _settings(report)
    data = ModelCardData(
        language=settings.get("spelling", "en"),
        license=license,
        base_model=settings["base"] if _on_hub(settings.get("base")) else None,
        datasets=[name for name in _sources(settings) if _on_hub(name)] or None,
        pipeline_tag="text-classification",
        tags=["text-classification", "multi-task", "distilbert", "onnx", folder.tasks.name],
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=repo.split("/")[-1] if results else None,
        eval_results=results or None,
    )
    return data.to_yaml().strip()


def _on_hub(name: object) -> bool:
    """Whether a name can be one of the Hub's, rather than a file or folder."""
    return (
        isinstance(name, str)
        and re.fullmatch(r"([\w-][\w.-]*/)?[\w-][\w.-]*", name) is not None
        and not name.endswith((*ENDINGS, ".gz"))
        and not Path(name).exists()
    )


def _settings(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the training run, as `train` reports them; empty if unknown."""
    return (report.get("training") or {}).get("settings") or {}


def _sources(settings: Mapping[str, Any]) -> list[str]:
    """What the model was trained on: names of Hub data sets, and file names without their folders."""
    paths = [source["path"] for source in (*(settings.get("data") or ()), *(settings.get("aux") or ()))]
    names = [re.split("[:@]", path)[0] for path in paths]
    return sorted({name if _on_hub(name) else Path(path).name for name, path in zip(names, paths, strict=True)})


def _evaluations(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Each evaluated set of messages: its name, and per task the figures that are known, ``n`` among them."""
    for name, found in (report.get("evaluation") or {}).items():
        tasks = {task: {"n": found.get("n"), **values} for task, values in (found.get("tasks") or {}).items()}
        yield name, {task: {key: v for key, v in values.items() if v is not None} for task, values in tasks.items()}


def _labels(folder: ModelFolder, report: Mapping[str, Any]) -> Iterator[str]:
    trained_on = (report.get("data") or {}).get("train") or {}
    for task in folder.tasks.tasks:
        shares = ((trained_on.get("tasks") or {}).get(task.name) or {}).get("shares") or {}
        yield f"**{task.name}**: {task.question}\n"
        yield "| label | when | of the training messages |\n|---|---|---|" if shares else "| label | when |\n|---|---|"
        for label in task.labels:
            share = f" {shares[label.name]:.1%} |" if label.name in shares else ""
            yield f"| {label.name} | {label.description} |{share}"
        yield ""


def _usage(folder: ModelFolder, repo: str) -> str:
    message = (folder.tasks.examples or ("Hello, could you help me, please?",))[0]
    template = (Path(__file__).parent / "templates/usage.md").read_text(encoding="utf-8").strip()
    ways = template.split("\n\nWith ")
    if not (folder.path / WEIGHTS).is_file():  # as in the embedded folder
        ways = [way for way in ways if not way.startswith("transformers")]
    template = "\n\nWith ".join(ways)
    return template.replace("{repo}", repo).replace("{message}", message.replace("\\", "\\\\").replace('"', '\\"'))


def _results(report: Mapping[str, Any]) -> Iterator[str]:
    for number, (name, tasks) in enumerate(_evaluations(report)):
        if number == 0:
            yield "## Results\n"
        shown = [metric for metric in METRICS if any(metric in values for values in tasks.values())]
        intervals = any("interval" in values for values in tasks.values())
        header = ["task", *(METRICS[metric] for metric in shown), *(["95 % interval"] if intervals else []), "messages"]
        yield f"{_words(name).capitalize()}:\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}"
        for task, values in tasks.items():
            cells = [task, *(f"{values[metric]:.3f}" if metric in values else "" for metric in shown)]
            if intervals:
                cells.append("{:.3f} to {:.3f}".format(*values["interval"]) if "interval" in values else "")
            yield f"| {' | '.join([*cells, str(values.get('n', ''))])} |"
        yield ""
    int8 = report.get("int8") or {}
    if int8.get("tasks"):
        agreements = [task["agreement"] for task in int8["tasks"].values()]
        yield (
            f"The int8 file gives the trained float model's label on {min(agreements):.1%} to {max(agreements):.1%} of "
            f"{int8['n']:,} messages, depending on the task.\n"
        )
    on = (report.get("calibration") or {}).get("on")
    if on:
        yield f"The temperatures were fitted on the {on} messages, so their calibration error is a little flattered.\n"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _training(folder: ModelFolder, report: Mapping[str, Any]) -> Iterator[str]:
    config, settings = folder.config, _settings(report)
    base, data = settings.get("base"), report.get("data") or {}
    sizes = {"trained on": data.get("train"), "held out": data.get("validation")}
    facts = {
        "Base model": base if _on_hub(base) else base and Path(base).name,
        "Data": ", ".join(_sources(settings)),
        "Messages": ", ".join(f"{part['rows']:,} {use}" for use, part in sizes.items() if part),
        "Hash of the training data": config.get("data_hash"),
        "Libraries": ", ".join(f"{name} {number}" for name, number in (config.get("libraries") or {}).items()),
    }
    known = {name: value for name, value in facts.items() if value}
    if known:
        yield "## Training\n"
        yield from (f"- {name}: {value}" for name, value in known.items())


def _limits(folder: ModelFolder, report: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    yield f"- Reads the first {folder.max_tokens} tokens of a message; the result says when one was cut."
    yield "- Probabilities are estimates. Let people check what is costly to get wrong."
    language = _settings(report).get("spelling", "en")
    named = f"the language `{language}`" if language else "one language"
    yield f"- Trained on messages in {named}; others were not tried."
