"""The page's tab for the policy: edit it for this visit and see at once what it does. Only `app.py` imports this."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import gradio as gr

from . import policy_form as form
from .automation import fingerprint, remembered
from .budget import at_level
from .changes import decider, is_fragile
from .curve_view import curve_chart
from .errors import ClassifierError
from .jobs import FINAL, JobQueue
from .page import escape, problem, task_title
from .policy import Policy
from .policy_view import MOST_ROWS, NO_FILE, NO_MESSAGE, Known, effect, known, known_rows, nothing_yet, promise
from .sliders import in_range, moves
from .tasks import Label

#: Files whose rows are kept in memory for the visitors who look at this tab.
FILES = 8

#: What the Message tab leaves here: the message, its probabilities, whether it is fragile; None before the first.
Analyzed = tuple[str, dict[str, dict[str, float]], bool | None] | None

TRIAL = "Try a policy here: the desk keeps its own. Download it to use it."
#: Where the budget's slider stands before it is moved, per cent.
START = 10

BUDGET = "Move the slider to choose the confidence from an error budget."
UNCOVERED = "The error rates were counted under the costs and rules of the desk; they say nothing about changed ones."

_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def policy_tab(jobs: JobQueue, tab: gr.Tab, analyzed: gr.State, last_job: gr.BrowserState) -> None:
    """The policy as a form and as JSON, its effect on examples, message and file, download, upload and reset.

    Args:
        jobs: The files that visitors have had classified, and what answers; its own policy stays as it is.
        tab: The tab that this stands in; opening it brings the effects up to date.
        analyzed: The message that the visitor analyzed last, as `Analyzed`.
        last_job: The id of the visitor's last file.
    """
    ui = _PolicyTab(jobs, [analyzed, last_job])
    ui.build()
    ui.connect(tab)


class _PolicyTab:
    """The components of the tab and what they do.

    The policy of the visit is in `policy`, as text. `faults` holds the places under the fields where what is wrong
    with them is told: the top of the page may be far out of sight.
    """

    def __init__(self, jobs: JobQueue, visit: list[Any]) -> None:
        self.jobs, self.visit = jobs, visit
        self.tasks, self.original = jobs.classifier.tasks, jobs.classifier.policy
        self.curve = remembered(jobs.classifier.folder.path, self.original)
        run, texts = jobs.classifier.probabilities, self.tasks.examples
        self.examples = [
            known(self.original, text, full, is_fragile(text, full, run, decider(self.original)))
            for text, full in zip(texts, run(texts) if texts else [], strict=True)
        ]
        self.rows = lru_cache(FILES)(self._rows)
        self.folder = tempfile.TemporaryDirectory(prefix="policies-")  # goes with the process

    def build(self) -> None:
        """Lay out the components."""
        self.faults: dict[Any, gr.HTML] = {}
        self.policy = gr.State(form.text_of(self.original))
        with gr.Row(elem_id="policy-tab"):
            with gr.Column(scale=5, min_width=280):
                self._build_form()
            with gr.Column(scale=7, min_width=280):
                gr.HTML(f'<p class="notice tone-neutral">{TRIAL}</p>')
                self.on_message = gr.HTML(nothing_yet("Your message", NO_MESSAGE), elem_id="policy-message")
                self.on_examples = gr.HTML(effect(self.original, self.examples, "Examples"), elem_id="policy-examples")
                self.on_file = gr.HTML(nothing_yet("Your file", NO_FILE), elem_id="policy-file")
        # Without a language: the editor's colours for JSON are too faint on a light ground.
        self.code = gr.Code(
            form.text_of(self.original),
            label="The whole policy as JSON, with its rules and terms",
            max_lines=24,
            elem_id="policy-code",
        )
        self._place_for_faults(self.code)

    def _build_form(self) -> None:
        words = promise(None, 0.0)[0] if self.curve is None else BUDGET
        self.budget = gr.Slider(
            1,
            30,
            START,
            step=0.5,
            label="Error budget: wrong automatic answers, per cent",
            visible=self.curve is not None,
            elem_id="policy-budget",
        )
        self.promised = gr.HTML(f'<p class="fine">{escape(words)}</p>', elem_id="policy-promise")
        self.drawn = gr.HTML(self._drawn(None), visible=self.curve is not None, elem_id="policy-curve")
        gr.HTML('<p class="label">Confidence that automatic answers need</p>')
        self.needs = {
            task: gr.Slider(
                0,
                100,
                100 * needed,
                step=0.5,
                label=f"{task_title(task, self.original)}, per cent",
                elem_id=f"policy-need-{task}",
            )
            for task, needed in self.original.automatic_needs.items()
        }
        self.terms = gr.Textbox(
            ", ".join(self.original.always_escalate),
            label="Always to a person",
            info="Words or phrases with commas between; * stands for any ending. Enter applies them.",
            placeholder="lawyer, cancel*",
            elem_id="policy-terms",
        )
        self._place_for_faults(self.terms)
        table: dict[str, Any] = {
            "type": "array",
            "static_columns": [0],
            "wrap": True,
            "buttons": [],
            "max_height": 2000,
        }
        choices = max(1, len(self.original.costs))
        self.costs = gr.Dataframe(
            form.cost_rows(self.original),
            headers=["Chosen \\ right", *(Label(name).title for name in self.original.costs)],
            label="Cost of choosing one action (row) where another was right (column)",
            column_widths=["28%", *[f"{72 / choices:.0f}%"] * choices],  # else a phone cuts the last column off
            visible=bool(self.original.costs),
            elem_id="policy-costs",
            **table,
        )
        self._place_for_faults(self.costs)
        self.queues = gr.Dataframe(
            form.queue_rows(self.original),
            headers=["Messages, the first line that fits", "Queue"],
            label="Queues",
            column_widths=["64%", "36%"],
            elem_id="policy-queues",
            **table,
        )
        self._place_for_faults(self.queues)
        with gr.Row(elem_id="policy-buttons"):
            self.reset = gr.Button("Reset", elem_id="policy-reset")
            self.save = gr.DownloadButton("Download", value=self._file(self.original), elem_id="policy-download")
            self.load = gr.UploadButton("Upload", file_types=[".json"], elem_id="policy-upload")
        self._place_for_faults(self.load)

    def _place_for_faults(self, field: Any) -> None:
        """Leave room under a field to tell what is wrong with it."""
        self.faults[field] = gr.HTML(visible=False, elem_id=f"{field.elem_id}-fault")

    def connect(self, tab: gr.Tab) -> None:
        """Wire the events.

        Args:
            tab: The tab that this stands in.
        """
        last: dict[str, Any] = {"trigger_mode": "always_last"}  # of a slider on the move, only where it stands counts
        for task, slider in self.needs.items():
            self._edits(moves(slider), slider, partial(form.with_need, task), js=in_range(slider, 1), **last)
        self._edits([self.terms.submit, self.terms.blur], self.terms, form.with_terms)
        self._edits([self.costs.input], self.costs, form.with_costs)
        self._edits([self.queues.input], self.queues, form.with_queues)
        self._edits([self.code.input], self.code, lambda _, text: form.read(text, self.tasks), **last)
        self._edits([self.load.upload], self.load, lambda _, path: form.read(Path(path).read_bytes(), self.tasks))
        self.reset.click(self._start_over, self.visit, [self.budget, *self._shown], **_PRIVATE)
        budgeted = [self.promised, *self._shown]
        inputs = [self.policy, self.budget, *self.visit]
        clamp = in_range(self.budget, 1)
        gr.on(moves(self.budget), self._keep_budget, inputs, budgeted, js=clamp, **last, **_PRIVATE)
        tab.select(self._show, [self.policy, *self.visit], self._shown, **_PRIVATE)

    @property
    def _shown(self) -> list[Any]:
        """Everything that depends on the policy of the visit."""
        fields = [*self.needs.values(), self.terms, self.costs, self.queues]
        effects = [self.on_message, self.on_examples, self.on_file]
        faults = self.faults.values()
        return [self.policy, self.code, *fields, self.promised, self.drawn, self.save, *effects, *faults]

    def _edits(self, events: list[Any], control: Any, change: Callable[[Policy, Any], Policy], **options: Any) -> None:
        """Let events of a control change the policy; the control itself stays as the visitor left it."""

        def edit(text: str, value: Any, message: Analyzed, job: str) -> dict[Any, Any]:
            shown = self._changed(text, control, lambda policy: change(policy, value), message, job)
            return {component: new for component, new in shown.items() if component is not control}

        gr.on(events, edit, [self.policy, control, *self.visit], self._shown, **options, **_PRIVATE)

    def _changed(
        self, text: str, control: Any, change: Callable[[Policy], Policy], message: Analyzed, job: str
    ) -> dict[Any, Any]:
        """What is shown after an edit; a fault in it is told under its field and changes nothing."""
        try:
            policy = change(form.read(text, self.tasks))
            policy.check(self.tasks)
        except ClassifierError as error:
            return {self.faults[control]: gr.HTML(problem(str(error)), visible=True)}
        return self._everything(policy, message, job)

    def _show(self, text: str, message: Analyzed, job: str) -> dict[Any, Any]:
        """What is shown when the tab is opened."""
        return self._everything(form.read(text, self.tasks), message, job)

    def _start_over(self, message: Analyzed, job: str) -> dict[Any, Any]:
        """What is shown of the desk's own policy, before any budget was chosen."""
        return {self.budget: START, **self._everything(self.original, message, job)}

    def _everything(self, policy: Policy, message: Analyzed, job: str) -> dict[Any, Any]:
        """What is shown of a policy: its fields, its file and its effects."""
        shown: dict[Any, Any] = {
            self.policy: form.text_of(policy),
            self.code: form.text_of(policy),
            **{slider: 100 * policy.automatic_needs.get(task, 0.0) for task, slider in self.needs.items()},
            self.terms: ", ".join(policy.always_escalate),
            self.costs: form.cost_rows(policy),
            self.queues: form.queue_rows(policy),
            self.save: gr.DownloadButton(value=self._file(policy)),
            self.on_message: self._effect_on_message(policy, message),
            self.on_examples: effect(policy, self.examples, "Examples"),
            self.on_file: self._effect_on_file(policy, job),
            **{place: gr.HTML("", visible=False) for place in self.faults.values()},
        }
        if self.curve is not None:
            words = BUDGET if fingerprint(policy) == fingerprint(self.original) else UNCOVERED
            shown[self.promised] = f'<p class="fine">{words}</p>'
            shown[self.drawn] = self._drawn(None)
        return shown

    def _drawn(self, level: float | None) -> str:
        """The curve behind the budget, with the chosen level if there is one."""
        return "" if self.curve is None else curve_chart(self.curve, level)

    def _keep_budget(self, text: str, per_cent: float, message: Analyzed, job: str) -> dict[Any, Any]:
        """Choose the confidence from a budget, and say what is promised."""
        words, level = promise(self.curve, per_cent / 100)
        policy = form.read(text, self.tasks)
        shown = self._everything(policy if level is None else at_level(policy, level), message, job)
        covered = fingerprint(policy) == fingerprint(self.original)
        told = f'<p class="fine">{escape(words if covered else UNCOVERED)}</p>'
        return {**shown, self.promised: told, self.drawn: self._drawn(level if covered else None)}

    def _effect_on_message(self, policy: Policy, message: Analyzed) -> str:
        if message is None:
            return nothing_yet("Your message", NO_MESSAGE)
        text, probabilities, fragile = message
        return effect(policy, [known(self.original, text, probabilities, fragile)], "Your message")

    def _effect_on_file(self, policy: Policy, id: str) -> str:
        try:
            job = self.jobs.get(id)
        except ClassifierError:  # none, or one that the server has forgotten since
            return nothing_yet("Your file", NO_FILE)
        if job.state not in FINAL:
            return nothing_yet(job.name, "This file is being classified; open this tab again when it is done.")
        rows = self.rows(job.id)
        total = job.progress.rows if job.progress else len(rows)
        note = f"Decided again are the first {MOST_ROWS:,} of {total:,} rows." if total > MOST_ROWS else ""
        return effect(policy, rows, job.name, note)

    def _rows(self, id: str) -> list[Known]:
        return known_rows(self.jobs.get(id), self.tasks, self.original)

    def _file(self, policy: Policy) -> str:
        """The policy as a file to download."""
        text = form.text_of(policy)
        path = Path(self.folder.name) / hashlib.sha256(text.encode()).hexdigest()[:16] / "policy.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)
