"""What the file tab shows, as HTML: how a file was read, how far a job is, charts and a table of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .file_summary import LENGTHS, ScoredRow, Summary
from .jobs import DONE, FAILED, FINAL, RUNNING, STOPPED, WAITING, Job
from .page import action_label, escape, task_title
from .policy import Policy
from .rows import Table
from .tasks import Label, TaskSet

#: Characters of a cell that the page shows.
SHOWN_CHARACTERS = 300

#: Characters from which a cell is a text to read.
LONG_CELL = 24

_STATES = {
    WAITING: ("⏳", "Waiting", "neutral"),
    RUNNING: ("▶️", "Running", "neutral"),
    DONE: ("✅", "Done", "good"),
    STOPPED: ("⏹️", "Stopped", "warn"),
    FAILED: ("⚠️", "Failed", "bad"),
}


def facts(table: Table, rows: int) -> str:
    """How a file was read."""
    format = {"csv": "CSV", "text": "Plain text", "json": "JSON", "jsonl": "JSON Lines", "xlsx": "Excel"}
    told = [format.get(table.format, "Parquet"), f"{rows:,} rows", f"{len(table.columns)} columns"]
    told += [f"encoding {table.encoding}"] if table.encoding else []
    told += [f"delimiter {table.delimiter!r}"] if table.delimiter else []
    notes = "".join(f'<p class="notice tone-warn">{escape(note)}</p>' for note in table.notes)
    return f'<p class="file-facts"><b>{escape(table.name)}</b> · {escape(" · ".join(told))}</p>{notes}'


def preview(table: Table, rows: int = 5) -> str:
    """The first rows of a file, the text column marked."""
    marked = [f"{name} (classified)" if name == table.text_column else name for name in table.columns]
    return _table(marked, [[_cell(_short(cell)) for cell in row.cells] for row in table.preview[:rows]])


def progress(job: Job, place: int) -> str:
    """State, bar and figures of a job.

    Args:
        job: The job.
        place: How many unfinished jobs came before it.
    """
    over = job.state in FINAL
    icon, word, tone = _STATES[job.state]
    stopping = job.stop.is_set() and not over
    if stopping:
        word = "Stopping after this part"
    done, share = job.progress, _share(job)
    told = []
    if done:
        told = [rows_done(job), f"{done.rows_per_second:,.0f} rows/s", f"{done.errors / done.rows:.1%} errors"]
        if job.state == RUNNING and not stopping and done.seconds_left is not None:
            told.append(f"{_duration(done.seconds_left)} left")
    if not over and place:
        told.append(f"{place} file(s) came before and take turns with it")
    reason = f'<p class="notice tone-bad">{escape(job.error)}</p>' if job.error else ""
    stay = "Its results are found by this id." if over or stopping else "You may close this page: the work goes on."
    return (
        f'<section class="job tone-{tone}"><p><span aria-hidden="true">{icon}</span> <b>{word}</b> '
        f"{escape(' · '.join([job.name, *told]))}</p>"
        f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{round(100 * share)}"><span style="width:{100 * share:.1f}%"></span></div>'
        f'<p class="fine">Job <code>{escape(job.id)}</code>. {stay}</p>'
        f"{reason}</section>"
    )


def rows_done(job: Job) -> str:
    """How many rows are done, and of how many where that is known."""
    rows = job.progress.rows if job.progress else 0
    if job.state == DONE:
        return f"{rows:,} rows"
    if job.total is not None:
        return f"{rows:,} of {job.total:,} rows"
    return f"the first {rows:,} rows" if job.state in FINAL else f"{rows:,} rows"


def _share(job: Job) -> float:
    """How much of a job is done. Small files are read far ahead, so that counted rows tell it best."""
    if job.state == DONE:
        return 1.0
    if job.progress is None:
        return 0.0
    return min(1.0, job.progress.rows / job.total) if job.total else job.progress.share or 0.0


def charts(summary: Summary, tasks: TaskSet, policy: Policy) -> str:
    """Charts of each task, the decisions, the first task by the second, confidence, length and the automatic share."""
    scored = max(summary.rows - summary.errors, 1)
    blocks = [
        _figure(
            task_title(task.name, policy),
            _bars(
                [
                    (f"{label.icon} {label.title}", summary.labels[task.name][label.name], label.tone)
                    for label in task.labels
                ]
            ),
        )
        for task in tasks.tasks
    ]
    routed = [(action_label(name, tasks, policy), summary.decisions[name]) for name in policy.actions]
    bars = [(f"{label.icon} {label.title}", count, label.tone) for label, count in routed]
    blocks.append(_figure("Decision", _bars(bars)))
    if len(tasks.tasks) > 1:
        first, second = tasks.tasks[:2]
        blocks.append(_figure(f"{Label(first.name).title} by {second.name.replace('_', ' ')}", _cross(summary, tasks)))
    least = [sum(counts[tenth] for counts in summary.confidence.values()) for tenth in range(10)]
    low = next((tenth for tenth, count in enumerate(least) if count), 9)
    sure = [(f"{10 * tenth}–{10 * tenth + 10} %", least[tenth], "neutral") for tenth in range(low, 10)]
    blocks.append(_figure("Confidence, all tasks", _bars(sure)))
    ends = (0, *LENGTHS)
    lengths = [f"{low + 1}–{high}" for low, high in zip(ends, LENGTHS, strict=False)] + [f"over {LENGTHS[-1]}"]
    blocks.append(
        _figure("Length in tokens", _bars([(name, summary.lengths[at], "neutral") for at, name in enumerate(lengths)]))
    )
    hands = [("automatic", summary.automatic, "good"), ("by a person", scored - summary.automatic, "warn")]
    blocks.append(_figure("Handled", _bars(hands if summary.rows > summary.errors else [])))
    return f'<div class="charts">{"".join(blocks)}</div>'


def about(job: Job) -> str:
    """Whose results these are, of how many rows, and how fast they came: another file may be chosen by now."""
    speed = ""
    if job.progress and job.progress.rows_per_second:
        rate = job.progress.rows_per_second
        speed = (
            f'<p class="file-facts">{rate:,.0f} rows per second: {1000 / rate:.2f} ms a row, reading and writing '
            "included, other files' turns too.</p>"
        )
    return f"<h3>Results of {escape(job.name)}: {rows_done(job)}</h3>{speed}"


def rows_table(rows: Sequence[ScoredRow], tasks: TaskSet, policy: Policy) -> str:
    """Rows as a table; an error stands under its message, where it is seen without scrolling."""
    if not rows:
        return '<p class="fine">No row fits these filters.</p>'
    header = ["Row", "Message", *(task_title(task, policy) for task in tasks.task_names), "Decision"]
    return _table(header, [[_cell(row.number), _message(row), *_answers(row, tasks, policy)] for row in rows])


def _message(row: ScoredRow) -> str:
    error = f'<p class="row-error">⚠️ {escape(row.details["error"])}</p>' if row.details["error"] else ""
    return f"<td class=long>{escape(_short(row.text))}{error}</td>"


def _answers(row: ScoredRow, tasks: TaskSet, policy: Policy) -> list[str]:
    """The cells of a row's labels and of its decision; empty ones for a row with an error."""
    if not row.labels:
        return [_cell("")] * (len(tasks.tasks) + 1)
    shown = [(tasks.task(task).label(label), f" {row.confidence[task]:.0%}") for task, label in row.labels.items()]
    shown.append((action_label(row.details["route_action"], tasks, policy), ""))
    return [_cell(_unbroken(f"{label.icon} {label.title}") + share) for label, share in shown]


def _figure(title: str, body: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{body}</figure>"


def _bars(counts: Sequence[tuple[str, int, str]]) -> str:
    """Horizontal bars; the number stands beside each, so that nothing depends on length or colour alone."""
    total, most = max(sum(count for _, count, _ in counts), 1), max([count for _, count, _ in counts] or [1]) or 1
    return (
        "<ul>"
        + "".join(
            f'<li class="tone-{tone}"><span>{escape(name)}</span><div class="bar"><span style="width:'
            f'{100 * count / most:.1f}%"></span></div><span class="count">{count:,} · {count / total:.0%}</span></li>'
            for name, count, tone in counts
        )
        + "</ul>"
    )


def _cross(summary: Summary, tasks: TaskSet) -> str:
    first, second = tasks.tasks[:2]
    most = max(summary.pairs.values(), default=1)
    body = []
    for label in first.labels:
        counts = [summary.pairs[label.name, other.name] for other in second.labels]
        shades = "".join(f'<td style="--share:{count / most:.2f}">{count:,}</td>' for count in counts)
        body.append(f'<tr><th scope="row">{escape(label.title)}</th>{shades}</tr>')
    names = "".join(f'<th scope="col">{escape(label.title)}</th>' for label in second.labels)
    return f'<table class="cross"><thead><tr><td></td>{names}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _table(header: Iterable[Any], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Rows"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Any) -> str:
    """A cell; long texts get a least width, so that they stay readable on a phone."""
    return f"<td{' class=long' if len(str(cell)) > LONG_CELL else ''}>{escape(cell)}</td>"


def _short(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _unbroken(words: str) -> str:
    """Words that stay on one line, so that narrow columns of a table break only between an answer and its share."""
    return words.strip().replace(" ", "\u00a0")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
