"""The public endpoint for whole files. Only modules of the page import this: Gradio takes seconds to load."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import gradio as gr

from . import page
from .errors import ClassifierError
from .jobs import DONE, FAILED, FINAL, STOPPED, Job, JobQueue
from .writers import write_table

log = logging.getLogger(__name__)

#: Seconds between two looks of a waiting client at its job.
PULSE = 0.5

#: Watching a job costs nothing, so any number of visitors may; the work itself has the queue's one thread.
WATCH: dict[str, Any] = {"concurrency_id": "files", "concurrency_limit": None}


def file_endpoint(jobs: JobQueue) -> None:
    """The public endpoint, and the event by which a client's cancel stops its job.

    Args:
        jobs: The queue that scores.
    """

    async def classify_file(file: str, text_column: str = "") -> AsyncIterator[tuple[dict[str, Any], str | None]]:
        """Classify every row of a table: CSV, TSV, Excel, JSON, JSON Lines, Parquet or plain text, also gzip'd.

        Yields the progress until the scored table is there. A cancelled call stops its job.

        Args:
            file: The table.
            text_column: The column with the messages; found by name and content if empty.

        Returns:
            Progress (job id, state, rows, errors, rows per second, share) and, at the end, the scored CSV file.
        """
        try:
            job = await asyncio.to_thread(jobs.submit, file, text_column or None)
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:
            log.exception("A file could not be queued.")
            raise gr.Error(page.APOLOGY, print_exception=False) from None
        try:
            async for _ in _pulses(job):
                yield _state(job), None
        finally:
            job.stop.set()  # nothing to stop any more, unless the caller cancelled
        if job.state == FAILED:
            raise gr.Error(job.error, print_exception=False)
        yield _state(job), await asyncio.to_thread(partial(result_file, job, "csv"))

    with gr.Group(visible=False):
        file, column = gr.File(label="file"), gr.Textbox(label="text_column")
        state, result, run, cancel = gr.JSON(label="progress"), gr.File(label="scored"), gr.Button(), gr.Button()
    event = run.click(classify_file, [file, column], [state, result], api_name="classify_file", **WATCH)
    cancel.click(None, cancels=[event], api_visibility="private")


def result_file(job: Job, format: str) -> str:
    """The scored rows of a finished job as a file, made once.

    Args:
        job: A job in a final state.
        format: One of the formats of `write_table`.

    Raises:
        ClassifierError: The format cannot hold them.
    """
    path = job.folder / f"{job.name.split('.')[0]}_scored.{format}"
    with job.exporting:
        if not path.exists():
            write_table(job.scored.columns, job.scored.rows, str(path), format)
    return str(path)


async def _pulses(job: Job) -> AsyncIterator[None]:
    """Come back every PULSE seconds while a job is not over."""
    while job.state not in FINAL:
        yield None
        await asyncio.sleep(PULSE)


def _state(job: Job) -> dict[str, Any]:
    done = job.progress
    return {
        "job": job.id,
        "state": job.state,
        "rows": done.rows if done else 0,
        "errors": done.errors if done else 0,
        "rows_per_second": round(done.rows_per_second, 1) if done else 0.0,
        "share": 1.0 if job.state == DONE else (done.share or 0.0) if done else 0.0,
        "stopped": job.state == STOPPED,
    }
