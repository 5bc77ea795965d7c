"""What the file tab shows, as HTML: how a file was read, how far a job is, charts and a table of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .file_summary import LENGTHS, ScoredRow, Summary
from .jobs import DONE, FAILED, RUNNING, STOPPED, WAITING, Job
from .page import escape
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
    return _table(marked, [[_short(cell) for cell in row.cells] for row in table.preview[:rows]])


def progress(job: Job, place: int) -> str:
    """State, bar and figures of a job.

    Args:
        job: The job.
        place: How many unfinished jobs came before it.
    """
    icon, word, tone = _STATES[job.state]
    done = job.progress
    share = 1.0 if job.state == DONE else (done.share or 0.0) if done else 0.0
    told = []
    if done:
        told = [f"{done.rows:,} rows", f"{done.rows_per_second:,.0f} rows/s", f"{done.errors / done.rows:.1%} errors"]
        if job.state == RUNNING and done.seconds_left is not None:
            told.append(f"{_duration(done.seconds_left)} left")
    if job.state in (WAITING, RUNNING) and place:
        told.append(f"{place} file(s) came before and take turns with it")
    reason = f'<p class="notice tone-bad">{escape(job.error)}</p>' if job.error else ""
    over = job.state not in (WAITING, RUNNING)
    stay = "Its results are found by this id." if over else "You may close this page: the work goes on."
    return (
        f'<section class="job tone-{tone}"><p><span aria-hidden="true">{icon}</span> <b>{word}</b> '
        f"{escape(' · '.join([job.name, *told]))}</p>"
        f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{round(100 * share)}"><span style="width:{100 * share:.1f}%"></span></div>'
        f'<p class="fine">Job <code>{escape(job.id)}</code>. {stay}</p>'
        f"{reason}</section>"
    )


def charts(summary: Summary, tasks: TaskSet) -> str:
    """Charts of each task, the first task by the second, confidence, length and the automatic share."""
    scored = max(summary.rows - summary.errors, 1)
    blocks = [
        _figure(
            Label(task.name).title,
            _bars(
                [
                    (f"{label.icon} {label.title}", summary.labels[task.name][label.name], label.tone)
                    for label in task.labels
                ]
            ),
        )
        for task in tasks.tasks
    ]
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


def speed(job: Job) -> str:
    """The latency summary of a finished job."""
    if not job.progress or not job.progress.rows_per_second:
        return ""
    rate = job.progress.rows_per_second
    return (
        f'<p class="file-facts">{job.progress.rows:,} rows at {rate:,.0f} rows per second: {1000 / rate:.2f} ms a row, '
        "reading and writing included, other files' turns too.</p>"
    )


def rows_table(rows: Sequence[ScoredRow], tasks: TaskSet) -> str:
    """Rows as a table."""
    header = ["Row", "Message", *(Label(task).title for task in tasks.task_names), "Route", "Error"]
    cells = [
        [
            row.number,
            _short(row.text),
            *(
                f"{_unbroken(f'{tasks.task(task).label(label).icon} {Label(label).title}')} {row.confidence[task]:.0%}"
                for task, label in row.labels.items()
            ),
            *([""] * (len(tasks.tasks) - len(row.labels))),
            Label(row.details["route_action"]).title if row.labels else "",
            row.details["error"],
        ]
        for row in rows
    ]
    return _table(header, cells) if cells else '<p class="fine">No row fits these filters.</p>'


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


def _table(header: Iterable[Any], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
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
