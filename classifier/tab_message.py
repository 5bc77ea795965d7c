"""The page's tab for one message. Only `app.py` imports this: Gradio takes seconds to load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from . import explain_view, page
from .service import Service
from .tasks import TaskSet

#: Every event that runs the model on a message shares these turns; long jobs must have their own.
MODEL_EVENTS: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 4}


def message_tab(service: Service, analyzed: gr.State) -> None:
    """One message: its box and examples, and beside them the route, the cards and the JSON.

    Args:
        service: What answers.
        analyzed: Gets the message whose answer is shown, its probabilities, and whether it is fragile; None when no
            answer is shown.
    """
    tasks = service.classifier.tasks
    with gr.Row(elem_id="workspace"):
        message, analyze, clear = _question()
        route, cards, why, words, data = _answer(tasks)
        examples = _examples(tasks)
    shown = [route, cards, data, why, words]
    events = {**MODEL_EVENTS, "api_visibility": "private", "show_progress_on": [route, cards]}

    def show(text: str) -> tuple[Any, ...]:
        *answer, found = service.show(text)
        kept = (text, found["probabilities"], found["route"]["fragile"]) if found else None
        return *answer, found, gr.Accordion(open=False), "", kept

    def tell_why(kept: tuple[Any, ...] | None) -> Iterator[str]:
        # Of the message that was answered: what stands in the box may be another one by now.
        if kept is None:
            yield explain_view.NO_MESSAGE
        else:
            yield explain_view.WAITING
            yield service.show_explanation(kept[0])

    answering: list[Any] = [analyze.click(show, message, [*shown, analyzed], **events)]
    for example in examples:
        outputs = [message, *shown, analyzed]
        answering.append(example.click(lambda text: (text, *show(text)), example, outputs, **events))
    quiet: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    explaining = why.expand(tell_why, analyzed, words, **MODEL_EVENTS, **quiet)
    # In the browser alone, so that nothing that is done next can be overtaken by a reset on its way back.
    closed = {"__type__": "update", "open": False}
    empty = json.dumps(["", page.banner_waiting(tasks), page.cards_waiting(tasks), None, closed, ""])
    reset = f"() => {{ document.querySelector('#message textarea').focus(); return {empty}; }}"
    clear.click(None, None, [message, *shown], js=reset, api_visibility="private")
    # A late answer would stand beside an empty box.
    clear.click(None, cancels=[*answering, explaining], queue=False, api_visibility="private")
    clear.click(lambda: None, None, analyzed, queue=False, show_progress="hidden", api_visibility="private")


def _question() -> tuple[gr.Textbox, gr.Button, gr.Button]:
    """The message box, Analyze and Clear."""
    with gr.Column(elem_id="ask"):
        message = gr.Textbox(
            label="Customer message",
            placeholder="typos, slang and ALL CAPS welcome",
            lines=8,
            max_lines=8,
            elem_id="message",
            autofocus=True,
        )
        with gr.Row(elem_id="buttons"):
            clear = gr.Button("Clear", elem_id="clear")
            analyze = gr.Button("Analyze", variant="primary", elem_id="analyze")
        gr.HTML(
            '<p class="fine"><span class="keys"><kbd>Enter</kbd> analyzes, <kbd>Shift</kbd>+<kbd>Enter</kbd> '
            "starts a new line.</span> Nothing you type is stored.</p>"
        )
    return message, analyze, clear


def _answer(tasks: TaskSet) -> tuple[gr.HTML, gr.HTML, gr.Accordion, gr.HTML, gr.JSON]:
    """The banner with the route, the cards, the explanation in its accordion, and the JSON."""
    with gr.Column(elem_id="answer"):
        route = gr.HTML(page.banner_waiting(tasks), elem_id="route")
        cards = gr.HTML(page.cards_waiting(tasks), elem_id="cards")
        with gr.Accordion("Why: the words that decided", open=False, elem_id="why") as why:
            words = gr.HTML()
        with gr.Accordion("JSON", open=False, elem_id="json"):
            data = gr.JSON(show_label=False, buttons=["copy"])
    return route, cards, why, words, data


def _examples(tasks: TaskSet) -> list[gr.Button]:
    """A button for each example. Its value is its text, so that an event can read the message from it."""
    with gr.Column(elem_id="examples", visible=bool(tasks.examples)):
        gr.HTML('<p class="label">Try one</p>')
        return [gr.Button(text, elem_classes="example") for text in tasks.examples]
