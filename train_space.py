"""The training page: bring labelled messages, check them, train, compare and push; `--headless` does it without a page.

Run it with `python train_space.py`; `--help` lists the options.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

# Read by Gradio when it is imported: no telemetry, and no look for newer versions.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from app import PAGE_FILES, THEME
from classifier import headless, training_page, training_report
from classifier.bench import SLOTS, Bench
from classifier.desks import DESKS
from classifier.errors import ClassifierError
from classifier.headless import settings_from
from classifier.hub import push
from classifier.settings import PRESETS
from classifier.trainer import RunState, Trainer

#: Encoders that the page offers; any other DistilBERT or BERT can be typed in.
ENCODERS = ["sentence-transformers/all-MiniLM-L6-v2", "distilbert-base-uncased"]

#: Tables that the page takes.
ENDINGS = [".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".parquet", ".gz"]

#: Seconds between two looks at the run.
REFRESH = 2.0

#: Visitors that may wait for their turn.
WAITING_VISITORS = 100


def build_demo(trainer: Trainer, *, sign_in: bool = False, may_push: bool = True) -> gr.Blocks:
    """The page.

    Args:
        trainer: What trains.
        sign_in: Whether visitors must sign in to the Hub to start, stop and push, as on a Space. Otherwise the
            token of this machine pushes.
        may_push: Whether the page pushes at all.
    """
    bench = Bench(trainer, sign_in, may_push)
    with gr.Blocks(title="Train a message classifier", analytics_enabled=False) as demo:
        gr.HTML(training_page.HEADER)
        if sign_in:
            gr.LoginButton()
        with gr.Row(elem_id="bench"):
            with gr.Column(scale=5, min_width=320, elem_id="form"):
                form = _form(bench)
            with gr.Column(scale=7, min_width=320, elem_id="progress"):
                _run(demo, bench, form)
    demo.queue(max_size=WAITING_VISITORS)
    return demo


def _form(bench: Bench) -> list[Any]:
    """What to train on, and with which recipe; returns the inputs in the order of `Bench.values`."""
    desks = [*((tasks.title, name) for name, tasks in DESKS.items()), ("My own labels", "own")]
    desk = gr.Dropdown(desks, value=desks[0][1], label="1. Task set", elem_id="desk")
    file = gr.File(
        label="2. Your labelled messages", file_types=ENDINGS, height=140, elem_id="table", elem_classes="upload"
    )
    gr.HTML(training_page.ABOUT_TABLES)
    text = gr.Dropdown([], label="Column: message", visible=False, elem_id="text-column")
    own = gr.Dropdown(
        [], label="Columns with labels; each becomes a task", multiselect=True, visible=False, elem_id="own-columns"
    )
    slots = [gr.Dropdown([], visible=False, elem_classes="slot") for _ in range(SLOTS)]
    base = gr.Dropdown(ENCODERS, value=ENCODERS[0], label="3. Base model", allow_custom_value=True, elem_id="base")
    with gr.Row():
        recipes = [(training_page.recipe(name, values), name) for name, values in PRESETS.items()]
        recipe = gr.Dropdown(recipes, value="ours", label="Preset", elem_id="preset", scale=3, min_width=200)
        epochs = gr.Number(
            PRESETS["ours"]["epochs"], label="Epochs", minimum=1, precision=0, elem_id="epochs", scale=1, min_width=80
        )
    checking = gr.Button("4. Check the data", elem_id="check")
    found = gr.HTML(training_page.NOT_CHECKED, elem_id="found")
    form = [desk, file, base, recipe, epochs, text, own, *slots]
    for event in (desk.change, file.change):
        event(bench.columns, [file, desk], [text, own, *slots], api_visibility="private")
    recipe.change(lambda name: PRESETS[name]["epochs"], recipe, epochs, queue=False, api_visibility="private")
    checking.click(bench.check, form, found, api_visibility="private")
    return form


def _run(demo: gr.Blocks, bench: Bench, form: list[Any]) -> None:
    """The run: its state, curves, log, report, comparison and push."""
    nothing = RunState("idle")
    state = gr.HTML(training_page.banner(bench.trainer.state()), elem_id="run")
    with gr.Row(elem_id="run-buttons"):
        starting = gr.Button("Start", variant="primary", elem_id="start")
        stopping = gr.Button("Stop", elem_id="stop", interactive=False)
        resuming = gr.Button("Resume", elem_id="resume", interactive=False)
    with gr.Row(elem_id="curves"):
        plot = {"x": "step", "height": 240, "min_width": 280, "visible": False}
        loss = gr.LinePlot(training_page.losses(nothing), y="loss", title="Training loss", **plot)
        score = gr.LinePlot(training_page.scores(nothing), y="macro-F1", color="task", title="Validation", **plot)
    with gr.Accordion("Log", open=False, elem_id="log"):
        log = gr.Textbox(lines=12, max_lines=12, label="What the run printed", autoscroll=True)
    with gr.Accordion("Report and comparison", elem_id="report"):
        report = gr.HTML(training_report.report(None))
        comparing = gr.Button("Compare with the current model", elem_id="compare", interactive=False)
        compared = gr.HTML(elem_id="compared")
    with gr.Accordion("Push to the Hub", elem_id="push"):
        repo = gr.Textbox(label="Repository", placeholder="your-name/your-model", elem_id="repo")
        private = gr.Checkbox(True, label="Private, if it is new")
        pushing = gr.Button("Push", elem_id="send", interactive=False)
        pushed = gr.HTML(elem_id="pushed")
    seen = gr.State(None)
    shown = [seen, state, loss, score, log, starting, stopping, resuming, report, comparing, pushing]
    starting.click(bench.start, form, [*shown, compared, pushed], api_visibility="private")
    stopping.click(bench.stop, None, shown, api_visibility="private")
    resuming.click(bench.resume, None, shown, api_visibility="private")
    comparing.click(bench.compare, None, compared, api_visibility="private")
    pushing.click(bench.push, [repo, private], pushed, api_visibility="private")
    gr.Timer(REFRESH).tick(bench.look, seen, shown, show_progress="hidden", api_visibility="private")
    demo.load(bench.look, seen, shown, show_progress="hidden", api_visibility="private")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="train_space.py", description="Train a model on a page, or without one.")
    parser.add_argument("--folder", default="runs/page", help="where the run is kept (default runs/page)")
    parser.add_argument("--headless", action="store_true", help="train from --config to the end, without a page")
    parser.add_argument("--hub-job", metavar="FLAVOR", help="do that as a Job of the Hub on this hardware")
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings, such as examples/train.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting in place of the file's, as in YAML"
    )
    parser.add_argument("--resume", action="store_true", help="with --headless: continue the stopped run of --folder")
    parser.add_argument("--push", metavar="OWNER/NAME", help="push the finished model there")
    parser.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    parser.add_argument("--license", help="licence for the model card, such as apache-2.0")
    parser.add_argument("--notes", metavar="FILE", help="with --headless: Markdown for the model card")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1; in a container 0.0.0.0)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page, or train without one.

    Args:
        argv: Command line; that of the process if None.

    Returns:
        Exit status: 2 after a mistake of the user or a failed run.
    """
    args = arguments(argv)
    try:
        if args.hub_job:
            headless_job(args)
        elif args.headless:
            train_headless(args)
        else:
            launch(args)
    except ClassifierError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def train_headless(args: argparse.Namespace) -> None:
    """Train from a settings file, print the report, push if asked to.

    Raises:
        ClassifierError: There is no settings file, or training or the push failed.
    """
    if not args.config and not args.resume:
        raise ClassifierError("Give the settings with --config FILE, such as examples/train.yaml.")
    trainer = Trainer(args.folder)
    headless.run(trainer, None if args.resume else settings_from(args.config, args.set))
    headless.print_report(trainer)
    print(f"The model is in {trainer.model}.", file=sys.stderr)
    if args.push:
        commit = push(trainer.model, args.push, private=args.private, license=args.license, notes=args.notes)
        print(f"Pushed to {commit.repo_url} (commit {commit.oid[:7]}).", file=sys.stderr)


def headless_job(args: argparse.Namespace) -> None:
    """The same as a Job of the Hub.

    Raises:
        ClassifierError: Something is missing, or the Hub refuses.
    """
    from classifier.hub_job import submit

    if not args.config or not args.push:
        raise ClassifierError("A Job needs --config FILE, and --push OWNER/NAME for the model to outlive it.")
    submit(args.hub_job, settings_from(args.config, args.set), args.push, private=args.private, license=args.license)


def launch(args: argparse.Namespace) -> None:
    """Serve the page until interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    trainer = Trainer(args.folder)
    sign_in = bool(os.environ.get("SPACE_ID"))
    host = args.host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    shared = os.environ.get("GRADIO_SHARE", "").lower() == "true"  # as Gradio reads it
    alone = host in ("127.0.0.1", "localhost", "::1") and not shared
    build_demo(trainer, sign_in=sign_in, may_push=sign_in or alone).launch(
        theme=THEME,
        css_paths=[PAGE_FILES / "page.css", PAGE_FILES / "training_page.css"],
        show_error=False,
        run_history=False,
        ssr_mode=False,
        footer_links=["settings"],
        server_name=args.host,
        server_port=args.port,
        max_file_size="200mb",
    )


if __name__ == "__main__":
    sys.exit(main())
