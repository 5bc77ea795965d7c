"""The page's tab for whole files. Only `app.py` imports this: Gradio takes seconds to load."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from . import file_report, file_summary, page
from .errors import ClassifierError
from .file_endpoint import WATCH, file_endpoint, result_file
from .jobs import DONE, FINAL, Job, JobQueue
from .rows import open_table
from .sliders import in_range, moves
from .tasks import Label

log = logging.getLogger(__name__)

#: Formats of the download, by the words of the page.
FORMATS = {"CSV": "csv", "Excel": "xlsx", "JSON Lines": "jsonl"}
if find_spec("pyarrow"):
    FORMATS["Parquet"] = "parquet"

#: Seconds between two looks at a job.
LOOK = 1.0

#: Orders of the rows, the first one by doubt.
ORDERS = ["most doubtful first", "as in the file"]

#: Endings that the upload box offers.
ENDINGS = [".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".parquet", ".gz"]

_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

NO_FILE = '<p class="file-facts">The first rows of your file appear here. CSV, Excel, JSON, Parquet or plain text.</p>'

NO_RESULTS = "Sorry, these results could not be shown. Press Enter in the box with the job id to try again."

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
    file_endpoint(jobs)


class _FileTab:
    """The components of the tab and what they do."""

    def __init__(self, jobs: JobQueue, remembered: gr.BrowserState) -> None:
        self.jobs, self.remembered = jobs, remembered
        self.tasks, self.policy = jobs.classifier.tasks, jobs.classifier.policy

    def build(self) -> None:
        """Lay out the components."""
        self.counted = gr.State(("", 0))  # the file that was looked at last, and its rows
        self.pulse = gr.Timer(LOOK, active=False)
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
        self.about = gr.HTML(elem_id="file-about")
        with gr.Row(elem_id="file-save"):
            self.format = gr.Dropdown(label="Format", choices=list(FORMATS), elem_id="file-format")
            self.download = gr.DownloadButton("Download all rows", variant="primary", elem_id="file-download")
        self.charts = gr.HTML(elem_id="file-charts")
        labels = [
            (f"{page.task_title(task.name, self.policy)}: {label.title}", f"{task.name}: {label.name}")
            for task in self.tasks.tasks
            for label in task.labels
        ]
        with gr.Row(elem_id="file-filters"):
            self.label = gr.Dropdown(label="Show rows with", choices=[("any answer", ""), *labels], value="")
            self.sure = gr.Slider(0, 100, 100, step=1, label="Up to this confidence (%)")
            self.order = gr.Dropdown(label="Order", choices=ORDERS)
        self.rows = gr.HTML(elem_id="file-rows")

    def connect(self) -> None:
        """Wire the events. The job that is shown is the remembered one; what is typed in the box is only a wish."""
        read = [self.column, self.facts, self.preview, self.counted]
        filters = [self.label, self.sure, self.order]
        report = [self.results, self.about, self.charts, self.rows, self.download, *filters]
        shown = [self.progress, self.stop, self.pulse, self.id, self.remembered, *report]
        self.file.change(self.inspect, self.file, read, **_PRIVATE)
        for button, path in self.samples:
            button.click(lambda path=str(path): path, None, self.file, queue=False, **_PRIVATE)
        self.column.input(self.choose, [self.file, self.column], self.preview, **_PRIVATE)
        started = [self.file, self.column, self.counted, self.format]
        self.start.click(self.run, started, shown, **WATCH, **_PRIVATE)
        self.id.submit(self.find, [self.id, self.format], shown, **WATCH, **_PRIVATE)
        self.pulse.tick(self.look, [self.remembered, self.format], shown, **WATCH, **_PRIVATE)
        self.stop.click(self.halt, self.remembered, [self.stop, self.progress], queue=False, **_PRIVATE)
        gr.on(
            [self.label.input, *moves(self.sure), self.order.input],
            self.filter,
            [self.remembered, *filters],
            self.rows,
            js=in_range(self.sure, 2),
            trigger_mode="always_last",
            **_PRIVATE,
        )
        self.format.input(self.export, [self.remembered, self.format], self.download, **_PRIVATE)
        blocks = gr.context.Context.root_block
        assert isinstance(blocks, gr.Blocks)
        blocks.load(self.recall, [self.remembered, self.format], shown, **WATCH, **_PRIVATE)

    def inspect(self, path: str | None) -> tuple[Any, str, str, tuple[str, int]]:
        """Read a dropped file: its columns, how it was read, and its first rows; its rows are counted."""
        nothing = gr.Dropdown(choices=[], value=None)
        if path is None:
            return nothing, NO_FILE, "", ("", 0)
        try:
            with self._open(path) as table:
                rows = sum(1 for _ in table)
                choices = gr.Dropdown(choices=list(table.columns), value=table.text_column)
                return choices, file_report.facts(table, rows), file_report.preview(table), (path, rows)
        except ClassifierError as error:
            return nothing, page.problem(str(error)), "", ("", 0)

    def choose(self, path: str | None, column: str | None) -> str:
        """Show the first rows again with another text column."""
        if path is None:
            return ""
        with self._open(path, column) as table:
            return file_report.preview(table)

    def _open(self, path: str, column: str | None = None) -> Any:
        limits = self.jobs.limits
        return open_table(path, text_column=column, max_bytes=limits.max_bytes, max_rows=limits.max_rows)

    def run(self, path: str | None, column: str | None, counted: tuple[str, int], format: str) -> dict[Any, Any]:
        """Queue a file and show its job. Closing the page doesn't stop it."""
        if path is None:
            raise gr.Error("Choose a file first.", print_exception=False)
        try:
            job = self.jobs.submit(path, column, counted[1] if counted[0] == path else None)
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return self._take_up(job, format)

    def find(self, id: str, format: str) -> dict[Any, Any]:
        """Show the job whose id was entered; without one, what is shown stays."""
        try:
            return self._take_up(self.jobs.get(id), format)
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def recall(self, id: str, format: str) -> dict[Any, Any]:
        """Show the job of the last visit; one that the server has forgotten since is no news."""
        try:
            return self._take_up(self.jobs.get(id), format)
        except ClassifierError:
            return {self.pulse: gr.Timer(active=False)}

    def _take_up(self, job: Job, format: str) -> dict[Any, Any]:
        """Show another job. Only here its id is written into the box: later looks would undo what is typed there."""
        return {
            self.id: job.id,
            self.remembered: job.id,
            self.results: gr.Column(visible=False),
            **self.look(job.id, format),
        }

    def look(self, id: str, format: str) -> dict[Any, Any]:
        """How far the job is and, once it is over, its results."""
        try:
            job = self.jobs.get(id)
        except ClassifierError as error:
            return {self.progress: page.problem(str(error)), **self._rest()}
        if job.state not in FINAL:
            stop = gr.Button(interactive=not job.stop.is_set())
            return {self.progress: self._progress(job), self.stop: stop, self.pulse: gr.Timer(active=True)}
        try:
            return {self.progress: self._progress(job), **self._rest(), **self._report(job, format)}
        except Exception:
            log.exception("The results of job %s could not be shown.", job.id)
            return {self.progress: page.problem(NO_RESULTS), **self._rest()}

    def _rest(self) -> dict[Any, Any]:
        """Nothing is left to look at or to stop."""
        return {self.stop: gr.Button(interactive=False), self.pulse: gr.Timer(active=False)}

    def _progress(self, job: Job) -> str:
        return file_report.progress(job, self.jobs.place(job))

    def _report(self, job: Job, format: str) -> dict[Any, Any]:
        """The results of a job that is over, in the format that is chosen, before any filter."""
        summary = file_summary.summarise(job.scored, self.tasks)
        rows = file_summary.choose_rows(job.scored, self.tasks)
        return {
            self.results: gr.Column(visible=job.state == DONE or summary.rows > 0),
            self.about: file_report.about(job),
            self.charts: file_report.charts(summary, self.tasks, self.policy),
            self.rows: file_report.rows_table(rows, self.tasks, self.policy),
            self.download: _download(job, format),
            self.label: "",
            self.sure: 100,
            self.order: ORDERS[0],
        }

    def halt(self, id: str) -> dict[Any, Any]:
        """Stop a job; its rows so far are kept."""
        shown: dict[Any, Any] = {self.stop: gr.Button(interactive=False)}
        try:
            shown[self.progress] = self._progress(self.jobs.stop(id))
        except ClassifierError as error:
            gr.Info(str(error))
        return shown

    def filter(self, id: str, label: str, sure: float, order: str) -> Any:
        """The rows that fit the filters."""
        try:
            job = self.jobs.get(id)
        except ClassifierError as error:
            gr.Warning(str(error))
            return gr.skip()
        rows = file_summary.choose_rows(
            job.scored,
            self.tasks,
            label=label or "",
            most_confidence=sure / 100,
            by_doubt=order == ORDERS[0],
        )
        return file_report.rows_table(rows, self.tasks, self.policy)

    def export(self, id: str, format: str) -> Any:
        """Make the download in another format."""
        try:
            return _download(self.jobs.get(id), format)
        except ClassifierError as error:  # the server has forgotten the job
            gr.Warning(str(error))
            return gr.DownloadButton(interactive=False)


def _download(job: Job, format: str) -> gr.DownloadButton:
    """The download of a job that is over; its words tell whether it covers the whole file."""
    rows = "all rows" if job.state == DONE or job.progress is None else f"the {job.progress.rows:,} rows"
    try:
        return gr.DownloadButton(f"Download {rows}", value=result_file(job, FORMATS[format]), interactive=True)
    except ClassifierError as error:  # this format cannot hold them
        gr.Warning(str(error))
        return gr.DownloadButton(f"Download {rows}", interactive=False)
