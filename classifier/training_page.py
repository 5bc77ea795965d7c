"""What the training page shows before and during a run, as HTML: the data check, the run and its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame

from .datacheck import DataCheck
from .estimates import Estimate
from .page import escape
from .trainer import Phase, RunState
from .training_report import table

#: Icon, words and tone of each phase.
PHASES: dict[Phase, tuple[str, str, str]] = {
    "idle": ("🧪", "No run yet", "neutral"),
    "running": ("⏳", "Training", "warn"),
    "stopped": ("⏸️", "Stopped", "neutral"),
    "failed": ("⚠️", "The run failed", "bad"),
    "done": ("✅", "Done", "good"),
}

ADVICE: dict[Phase, str] = {
    "idle": "Choose data and model, check the data, then start.",
    "running": "The run goes on when this page is closed. Come back at any time.",
    "stopped": "Its checkpoints are kept. Resume goes on from the newest one.",
    "failed": "Mend the cause and resume, or start anew.",
    "done": "The model is ready: read the report, compare it, push it. A new run removes it from here.",
}

FINISHING = "All steps are made. The model is now calibrated, exported and evaluated."

HEADER = (
    '<div class="masthead"><h1>Train a message classifier</h1>'
    '<p class="model">One run at a time; a second visitor sees the same run.</p></div>'
)
ABOUT_TABLES = (
    '<p class="fine">CSV, Excel, JSON Lines or Parquet, a column with the message and one per task. Without a table '
    "the messages that come with the project are used.</p>"
)
NOT_CHECKED = '<p class="fine">Shares of the labels, lengths, warnings, time and cost appear here.</p>'


def banner(state: RunState) -> str:
    """The run in one look.

    Args:
        state: The run's state.
    """
    icon, title, tone = PHASES[state.phase]
    facts: list[tuple[str, str]] = []
    if state.total and state.phase != "idle":
        share = state.step / state.total
        facts.append(("Step", f"{state.step:,} of {state.total:,} ({share:.0%})"))
    elif state.phase == "running":
        facts.append(("Step", "reading data and encoder"))
    if state.steps:
        facts.append(("Loss", f"{state.steps[-1]['loss']:.3f}"))
    if state.validations:
        best = max(line["score"] for line in state.validations)
        facts.append(("Best validation macro-F1", f"{best:.3f}"))
    if state.messages_per_second:
        facts.append(("Speed", f"{state.messages_per_second:,.0f} messages/s"))
    finishing = state.phase == "running" and state.total is not None and state.step >= state.total
    if state.seconds_left is not None and not finishing:
        facts.append(("Time left", f"at most {duration(state.seconds_left)}"))
    if state.owner:
        facts.append(("Started by", state.owner))
    chips = "".join(
        f'<div class="chip tone-neutral"><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>' for name, value in facts
    )
    share = state.step / state.total if state.total else 0.0
    bar = f'<div class="bar"><span style="width:{100 * share:.1f}%"></span></div>' if state.phase != "idle" else ""
    error = f'<p class="notice tone-bad">{escape(state.error)}</p>' if state.error else ""
    return (
        f'<section class="route run {state.phase} tone-{tone}" role="status"><header>'
        f'<span class="route-icon" aria-hidden="true">{icon}</span><h2>{title}</h2></header>'
        f'<p>{FINISHING if finishing else ADVICE[state.phase]}</p><p class="fine">{escape(_subject(state))}</p>{error}'
        f'<dl class="facts">{chips}</dl>{bar}<p class="fine">{escape(_newest(state))}</p></section>'
    )


def _subject(state: RunState) -> str:
    """What is trained on what."""
    settings = state.settings
    if settings is None:
        return ""
    names = [Path(name).name if Path(name).exists() else name for name in (source.path for source in settings.data)]
    base = Path(settings.base).name if Path(settings.base).exists() else settings.base
    return f"{base} on {', '.join(names)}; {settings.epochs} epochs at most, {settings.batch_size} messages a step"


def _newest(state: RunState) -> str:
    """The newest validation in words, which a narrow chart has no room to name."""
    if not state.validations:
        return ""
    tasks = state.validations[-1]["tasks"]
    return "Newest validation, macro-F1: " + ", ".join(f"{name} {row['macro_f1']:.3f}" for name, row in tasks.items())


def check(found: DataCheck, estimates: Sequence[Estimate], note: str = "") -> str:
    """What the data hold, what to watch out for, and what a run would take.

    Args:
        found: The checked data.
        estimates: Time and cost on each hardware.
        note: Why there are no estimates.
    """
    lengths = found.summary["characters"]
    read = sum(found.found.rows.values())
    parts = [
        f"<p>{read:,} rows read; {len(found.train):,} messages to train on, {len(found.validation):,} held out. "
        f"{found.found.duplicates:,} duplicates and {found.found.empty:,} rows without text were left out. "
        f"Length: half under {lengths['median']:,.0f} characters, 95 % under {lengths['p95']:,.0f}.</p>"
    ]
    parts += [f'<p class="notice tone-warn">⚠️ {escape(warning)}</p>' for warning in (*found.warnings, note) if warning]
    for task in found.tasks.tasks:
        shares = found.summary["tasks"][task.name]
        rows = "".join(
            f'<tr><th scope="row">{escape(label)}</th><td class="wide"><div class="bar"><span style="width:'
            f'{100 * share:.1f}%"></span></div></td><td>{share:.1%}</td></tr>'
            for label, share in shares["shares"].items()
        )
        caption = f"{escape(task.name)}: {shares['labelled']:,} labelled"
        parts.append(f'<table class="figures"><caption>{caption}</caption>{rows}</table>')
    if estimates:
        lines = [(row.title, duration(row.seconds), dollars(row.dollars), row.basis) for row in estimates]
        head = ("hardware", "time", "cost", "the speed is")
        priced = any(row.dollars is not None for row in estimates)
        prices = "Prices are the Hub's, as it lists them now." if priced else "The Hub cannot be asked for prices now."
        parts.append(table("What a run would take, roughly", head, lines, worded=True))
        parts.append(f'<p class="fine">Training steps only: start-up, validation and export come on top. {prices}</p>')
    return f'<div class="check">{"".join(parts)}</div>'


def dollars(amount: float | None) -> str:
    """A price for people: ``"free"``, ``"under $ 0.01"`` or ``"$ 1.20"``; nothing if it isn't known."""
    if amount is None:
        return ""
    return "free" if amount == 0 else "under $ 0.01" if amount < 0.01 else f"$ {amount:.2f}"


def losses(state: RunState, points: int = 400) -> DataFrame:
    """The loss over the steps as a moving mean.

    Args:
        state: The run's state.
        points: Most points to draw; of a longer run every n-th.

    Returns:
        Columns ``step`` and ``loss``.
    """
    every = max(len(state.steps) // points, 1)
    mean, rows = None, []
    for number, line in enumerate(state.steps):
        mean = line["loss"] if mean is None else 0.9 * mean + 0.1 * line["loss"]
        if number % every == 0 or number + 1 == len(state.steps):
            rows.append((line["step"], mean))
    # With the types named, an empty plot has number axes, too.
    return DataFrame(rows, columns=["step", "loss"]).astype({"step": int, "loss": float})


def scores(state: RunState) -> DataFrame:
    """Macro-F1 of each validation.

    Args:
        state: The run's state.

    Returns:
        Columns ``step``, ``macro-F1`` and ``task``, the mean over the tasks among them.
    """
    rows = [(line["step"], line["score"], "mean") for line in state.validations]
    rows += [
        (line["step"], values["macro_f1"], task) for line in state.validations for task, values in line["tasks"].items()
    ]
    return DataFrame(rows, columns=["step", "macro-F1", "task"]).astype({"step": int, "macro-F1": float, "task": str})


def recipe(name: str, values: Mapping[str, Any]) -> str:
    """A preset in the words of the menu.

    Args:
        name: Its name.
        values: Its settings.
    """
    noise = ", noise" if "noise" in values else ""
    return f"{name}: rate {values['learning_rate']:.0e}, batch {values['batch_size']}{noise}".replace("e-0", "e-")


def duration(seconds: float) -> str:
    """A time for people: ``"40 s"``, ``"12 min"`` or ``"3.5 h"``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
