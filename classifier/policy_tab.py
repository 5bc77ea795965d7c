"""The page's tab for the policy: edit it for this visit and see at once what it does. Only `app.py` imports this."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from .budget import Curve, at_level
from .errors import ClassifierError
from .folder import CALIBRATION, read_json
from .page import escape, problem
from .policy_view import Known, effect, promise
from .predict import Classifier
from .routing import Policy
from .rows import open_table
from .tasks import Label

#: Rows of a file that the tab decides on again with every change.
MOST_ROWS = 2000

TRIAL = "Try a policy here: the desk keeps its own. Download it to use it."
BUDGET = "Move the slider to choose the confidence from an error budget."


def policy_tab(classifier: Classifier) -> None:
    """The policy as a form and as JSON, its effect on the examples and on a file, download, upload and reset.

    Args:
        classifier: What answers; its own policy stays as it is.
    """
    original = classifier.policy
    texts = classifier.tasks.examples
    examples: Known = list(zip(texts, classifier.probabilities(texts), strict=True)) if texts else []
    curve = _curve(classifier)
    text = _text(original)

    def show(policy_text: str, messages: Known) -> tuple[str, str, str]:
        """What the policy does; an error leaves the last picture standing in words."""
        try:
            policy = _policy(policy_text)
            policy.check(classifier.tasks)
        except ClassifierError as error:
            return problem(str(error)), gr.skip(), gr.skip()
        return (
            f'<p class="notice tone-neutral">{TRIAL}</p>',
            effect(policy, original, examples, "Examples"),
            effect(policy, original, messages, "Your file"),
        )

    def set_level(policy_text: str, level: float) -> str:
        return _edited(policy_text, lambda policy: at_level(policy, level / 100))

    def set_terms(policy_text: str, terms: str) -> str:
        listed = [term.strip() for term in terms.split(",") if term.strip()]
        return _edited(policy_text, lambda policy: policy.changed(always_escalate=listed))

    def set_costs(policy_text: str, rows: list[list[Any]]) -> str:
        names = list(original.costs)
        costs = {
            name: dict(zip(names, map(float, row[1:]), strict=True)) for name, row in zip(names, rows, strict=True)
        }
        return _edited(policy_text, lambda policy: policy.changed(costs=costs))

    def fill_form(policy_text: str) -> tuple[Any, Any, Any]:
        """The form of a policy that came by upload, reset or typing; a faulty one leaves it as it is."""
        try:
            policy = _policy(policy_text)
            policy.check(classifier.tasks)
        except ClassifierError:
            return gr.skip(), gr.skip(), gr.skip()
        return _level(policy), ", ".join(policy.always_escalate), _cost_rows(policy)

    def keep_budget(policy_text: str, per_cent: float) -> tuple[str, str]:
        words, level = promise(curve, per_cent / 100)
        words = f'<p class="fine">{escape(words)}</p>'
        return words, policy_text if level is None else set_level(policy_text, 100 * level)

    def upload(path: str | None) -> Any:
        try:
            return _text(Policy.from_file(path)) if path else gr.skip()
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def read_messages(path: str | None) -> Known:
        if path is None:
            return []
        try:
            with open_table(path, max_rows=MOST_ROWS) as table:
                at = table.columns.index(table.text_column)
                texts = [str(row.cells[at]) for row in table if not row.error and str(row.cells[at]).strip()]
            return list(zip(texts, classifier.probabilities(texts), strict=True)) if texts else []
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def download(policy_text: str) -> str:
        path = Path(tempfile.mkdtemp(prefix="policy-")) / "policy.json"
        path.write_text(_edited(policy_text, lambda policy: policy), encoding="utf-8")
        return str(path)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    known = gr.State([])
    with gr.Row(elem_id="policy-tab"):
        with gr.Column(scale=5, min_width=280):
            level = gr.Slider(
                0,
                100,
                _level(original),
                step=0.5,
                label="Confidence that automatic answers need, in per cent",
                elem_id="policy-level",
            )
            budget = gr.Slider(
                1, 30, 5, step=0.5, label="Error budget: wrong automatic answers in per cent", visible=curve is not None
            )
            promised = gr.HTML(f'<p class="fine">{promise(curve, 0.05)[0] if curve is None else BUDGET}</p>')
            terms = gr.Textbox(
                ", ".join(original.always_escalate),
                label="Always to a person",
                info="Words or phrases, comma-separated; * stands for any ending.",
                placeholder="lawyer, cancel*",
                elem_id="policy-terms",
            )
            costs = gr.Dataframe(
                _cost_rows(original),
                headers=["Chosen \\ right", *(Label(name).title for name in original.costs)],
                label="Cost of choosing one action (row) where another was right (column)",
                visible=bool(original.costs),
                type="array",
                static_columns=[0],
                wrap=True,
                buttons=[],
                elem_id="policy-costs",
            )
            with gr.Row(elem_id="policy-buttons"):
                reset = gr.Button("Reset")
                save = gr.DownloadButton("Download")
                load = gr.UploadButton("Upload", file_types=[".json"])
        with gr.Column(scale=7, min_width=280):
            state = gr.HTML(f'<p class="notice tone-neutral">{TRIAL}</p>', elem_id="policy-state")
            shown_examples = gr.HTML(effect(original, original, examples, "Examples"), elem_id="policy-examples")
    file = gr.File(label=f"Try it on your messages (the first {MOST_ROWS:,} rows)", type="filepath", height=150)
    shown_file = gr.HTML()
    code = gr.Code(
        text, language="json", label="The whole policy, with queues and rules", max_lines=24, elem_id="policy-code"
    )

    budget.input(keep_budget, [code, budget], [promised, code], trigger_mode="always_last", **private)
    level.input(set_level, [code, level], code, trigger_mode="always_last", **private)
    terms.input(set_terms, [code, terms], code, **private)
    costs.input(set_costs, [code, costs], code, **private)
    reset.click(lambda: text, None, code, **private)
    load.upload(upload, load, code, **private)
    save.click(download, code, save, **private)
    shown = [state, shown_examples, shown_file]
    file.change(read_messages, file, known, **private).then(show, [code, known], shown, **private)
    code.change(show, [code, known], shown, **private).then(fill_form, code, [level, terms, costs], **private)


def _level(policy: Policy) -> float:
    """What the slider shows: the greatest confidence that a task needs, in per cent."""
    return 100 * max(policy.automatic_needs.values(), default=0.0)


def _cost_rows(policy: Policy) -> list[list[Any]]:
    return [[Label(chosen).title, *row.values()] for chosen, row in policy.costs.items()]


def _curve(classifier: Classifier) -> Curve | None:
    path = classifier.folder.path / CALIBRATION
    found = read_json(path).get("automation") if path.is_file() else None
    return Curve.from_dict(found) if found else None


def _text(policy: Policy) -> str:
    return json.dumps(policy.to_dict(), indent=2, ensure_ascii=False)


def _policy(text: str) -> Policy:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ClassifierError(f"This is not JSON: {error}.") from None
    return Policy.from_dict(data, where="This policy")


def _edited(text: str, change: Any) -> str:
    """The policy's text after a change; a fault in it is told and leaves the text as it is."""
    try:
        return _text(change(_policy(text)))
    except (ClassifierError, ValueError, TypeError) as error:
        raise gr.Error(str(error), print_exception=False) from None
