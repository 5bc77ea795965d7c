"""The page's tab for whole files, and its public endpoint. Only `app.py` imports this: Gradio takes seconds to load."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from . import file_report, file_summary, page
from .errors import ClassifierError
from .jobs import DONE, FAILED, FINAL, STOPPED, Job, JobQueue
from .rows import open_table
from .tasks import Label
from .writers import write_table

log = logging.getLogger(__name__)

#: Formats of the download, by the words of the page.
FORMATS = {"CSV": "csv", "Excel": "xlsx", "JSON Lines": "jsonl"}
if find_spec("pyarrow"):
    FORMATS["Parquet"] = "parquet"

#: Seconds between two looks at a job.
PULSE = 0.5

#: Endings that the upload box offers.
ENDINGS = [".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".parquet", ".gz"]

#: Watching a job costs nothing, so any number of visitors may; the work itself has the queue's one thread.
_WATCH: dict[str, Any] = {"concurrency_id": "files", "concurrency_limit": None}
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

NO_FILE = '<p class="file-facts">The first rows of your file appear here. CSV, Excel, JSON, Parquet or plain text.</p>'

SAMPLES = Path(__file__).parents[1] / "examples"


def file_tab(jobs: JobQueue, remembered: gr.BrowserState) -> None:
    """Drop a file, watch it being scored, look at the results and download them.

    Args:
        jobs: The queue that scores.
        remembered: Keeps the id of the visitor's last job. It stands outside the tab: what is inside is not there
            until the tab is opened, so that nothing could be recalled when the page loads.
    """
    ui = _FileTab(jobs, remembered)
    with gr.Column(elem_id="file-tab"):
        ui.build()
    ui.connect()
    _endpoint(jobs)


class _FileTab:
    """The components of the tab and what they do."""

    def __init__(self, jobs: JobQueue, remembered: gr.BrowserState) -> None:
        self.jobs, self.tasks, self.remembered = jobs, jobs.classifier.tasks, remembered

    def build(self) -> None:
        """Lay out the components."""
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self.file = gr.File(label="File", file_types=ENDINGS, height=120, elem_id="file")
                gr.HTML('<p class="label">Or take a sample</p>')
                with gr.Row(elem_id="file-samples"):
                    self.samples = [(gr.Button(Label(path.stem).title), path) for path in sorted(SAMPLES.glob("*.csv"))]
                self.column = gr.Dropdown(label="Column with the messages", choices=[], elem_id="text-column")
                with gr.Row(elem_id="file-buttons"):
                    self.start = gr.Button("Classify all rows", variant="primary", elem_id="start-file")
                    self.stop = gr.Button("Stop", interactive=False, elem_id="stop-file")
                self.id = gr.Textbox(label="Job id", info="Enter one to see an earlier job again.", elem_id="job-id")
            with gr.Column(scale=2, min_width=280):
                self.facts = gr.HTML(NO_FILE, elem_id="file-facts")
                self.preview = gr.HTML(elem_id="file-preview")
        self.progress = gr.HTML(elem_id="file-progress")
        with gr.Column(visible=False, elem_id="file-results") as self.results:
            self._build_results()

    def _build_results(self) -> None:
        """What is seen of a job that is over: the download, the charts, and its rows behind filters."""
        with gr.Row(elem_id="file-save"):
            self.format = gr.Dropdown(label="Format", choices=list(FORMATS), elem_id="file-format")
            self.download = gr.DownloadButton("Download all rows", variant="primary", elem_id="file-download")
        self.charts = gr.HTML(elem_id="file-charts")
        labels = [
            (f"{Label(task.name).title}: {label.title}", f"{task.name}: {label.name}")
            for task in self.tasks.tasks
            for label in task.labels
        ]
        with gr.Row(elem_id="file-filters"):
            self.label = gr.Dropdown(label="Show rows with", choices=[("any answer", ""), *labels], value="")
            self.sure = gr.Slider(0, 100, 100, step=1, label="Up to this confidence (%)")
            self.order = gr.Dropdown(label="Order", choices=["most doubtful first", "as in the file"])
        self.rows = gr.HTML(elem_id="file-rows")

    def connect(self) -> None:
        """Wire the events."""
        read = [self.column, self.facts, self.preview]
        report = [self.results, self.charts, self.rows, self.download]
        shown = [self.progress, *report, self.id, self.remembered, self.stop]
        filters: list[Any] = [self.label, self.sure, self.order]
        self.file.change(self.inspect, self.file, read, **_PRIVATE)
        for button, path in self.samples:
            button.click(lambda path=str(path): path, None, self.file, queue=False, **_PRIVATE)
        self.column.input(self.choose, [self.file, self.column], self.preview, **_PRIVATE)
        self.start.click(self.run, [self.file, self.column], shown, **_WATCH, **_PRIVATE)
        self.stop.click(self.halt, self.id, None, queue=False, **_PRIVATE)
        self.id.submit(self.follow, self.id, shown, **_WATCH, **_PRIVATE)
        for control in filters:
            control.change(self.filter, [self.id, *filters], self.rows, **_PRIVATE)
        self.format.change(self.export, [self.id, self.format], self.download, **_PRIVATE)
        blocks = gr.context.Context.root_block
        assert isinstance(blocks, gr.Blocks)
        blocks.load(self.recall, self.remembered, shown, **_WATCH, **_PRIVATE)

    def inspect(self, path: str | None) -> tuple[Any, str, str]:
        """Read a dropped file: its columns, how it was read, and its first rows."""
        if path is None:
            return gr.Dropdown(choices=[], value=None), NO_FILE, ""
        try:
            with self._open(path) as table:
                rows = sum(1 for _ in table)
                choices = gr.Dropdown(choices=list(table.columns), value=table.text_column)
                return choices, file_report.facts(table, rows), file_report.preview(table)
        except ClassifierError as error:
            return gr.Dropdown(choices=[], value=None), page.problem(str(error)), ""

    def choose(self, path: str | None, column: str | None) -> str:
        """Show the first rows again with another text column."""
        if path is None:
            return ""
        with self._open(path, column) as table:
            return file_report.preview(table)

    def _open(self, path: str, column: str | None = None) -> Any:
        limits = self.jobs.limits
        return open_table(path, text_column=column, max_bytes=limits.max_bytes, max_rows=limits.max_rows)

    async def run(self, path: str | None, column: str | None) -> AsyncIterator[tuple[Any, ...]]:
        """Queue a file and watch it. Closing the page doesn't stop it."""
        if path is None:
            raise gr.Error("Choose a file first.", print_exception=False)
        try:
            job = await asyncio.to_thread(self.jobs.submit, path, column)
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None
        async for update in self.follow(job.id):
            yield update

    async def follow(self, id: str) -> AsyncIterator[tuple[Any, ...]]:
        """Show a job until it is over."""
        unseen = (gr.Column(visible=False), "", "", gr.skip())
        try:
            job = self.jobs.get(id)
        except ClassifierError as error:
            yield page.problem(str(error)), *unseen, gr.skip(), "", gr.Button(interactive=False)
            return
        async for _ in _pulses(job):
            yield self._progress(job), *unseen, job.id, job.id, gr.Button(interactive=True)
        try:
            result = await asyncio.to_thread(self._result, job)
        except Exception:
            log.exception("The results of job %s could not be shown.", job.id)
            raise gr.Error(page.APOLOGY, print_exception=False) from None
        yield self._progress(job), gr.Column(visible=True), *result, job.id, job.id, gr.Button(interactive=False)

    async def recall(self, id: str) -> AsyncIterator[tuple[Any, ...]]:
        """Show the job of the last visit; one that the server has forgotten since is no news."""
        try:
            self.jobs.get(id)
        except ClassifierError:
            yield (gr.skip(),) * 8
            return
        async for update in self.follow(id):
            yield update

    def _progress(self, job: Job) -> str:
        return file_report.progress(job, self.jobs.place(job))

    def _result(self, job: Job) -> tuple[str, str, Any]:
        summary = file_summary.summarise(job.scored, self.tasks)
        rows = file_summary.choose_rows(job.scored, self.tasks)
        download = gr.DownloadButton(value=result_file(job, "csv"), interactive=True)
        report = file_report.speed(job) + file_report.charts(summary, self.tasks)
        return report, file_report.rows_table(rows, self.tasks), download

    def halt(self, id: str) -> None:
        """Stop a job; its rows so far are kept."""
        try:
            self.jobs.stop(id)
        except ClassifierError as error:
            gr.Info(str(error))

    def filter(self, id: str, label: str, sure: float, order: str) -> str:
        """The rows that fit the filters."""
        if not id:
            return ""
        rows = file_summary.choose_rows(
            self.jobs.get(id).scored,
            self.tasks,
            label=label or "",
            most_confidence=sure / 100,
            by_doubt=order == "most doubtful first",
        )
        return file_report.rows_table(rows, self.tasks)

    def export(self, id: str, format: str) -> Any:
        """Make the download in another format."""
        try:
            return gr.DownloadButton(value=result_file(self.jobs.get(id), FORMATS[format]), interactive=True)
        except ClassifierError as error:
            gr.Warning(str(error))
            return gr.DownloadButton(interactive=False)


async def _pulses(job: Job) -> AsyncIterator[None]:
    """Come back every PULSE seconds while a job is not over."""
    while job.state not in FINAL:
        yield None
        await asyncio.sleep(PULSE)


def result_file(job: Job, format: str) -> str:
    """The scored rows of a finished job as a file, made once.

    Args:
        job: A job in a final state.
        format: One of the formats of `write_table`.

    Raises:
        ClassifierError: The format cannot hold them.
    """
    path = job.folder / f"{job.name.split('.')[0]}_scored.{format}"
    if not path.exists():
        write_table(job.scored.columns, job.scored.rows, str(path), format)
    return str(path)


def _endpoint(jobs: JobQueue) -> None:
    """The public endpoint, and the event by which a client's cancel stops its job."""

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
    event = run.click(classify_file, [file, column], [state, result], api_name="classify_file", **_WATCH)
    cancel.click(None, cancels=[event], api_visibility="private")


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
