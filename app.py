"""The page: a message in, a routed answer out. Run it with `python app.py`; `--help` lists the options."""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

# Read by Gradio when it is imported: no telemetry, and no look for newer versions.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from classifier import Classifier, ClassifierError, Policy, page
from classifier.jobs import JobQueue, Limits
from classifier.policy_tab import policy_tab
from classifier.service import Service
from classifier.tab_file import file_tab
from classifier.tab_message import MODEL_EVENTS, message_tab

log = logging.getLogger("classifier.app")

#: Requests that may wait for their turn; later ones are told that the queue is full.
WAITING_REQUESTS = 200

#: What one visitor may send; a hosted page shares its two cores and its disk among all.
LIMITS = Limits(max_bytes=512 << 20, max_rows=1_000_000)

PAGE_FILES = Path(page.__file__).parent

THEME = gr.themes.Base(
    primary_hue="blue",
    neutral_hue="slate",
    radius_size="md",
    # Names that the visitor's system has; Gradio's own themes would fetch fonts from another server.
    font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
).set(
    body_text_color_subdued="#556070",
    body_text_color_subdued_dark="#a3adba",
    # The colours of page.css, which knows the two themes; Gradio's own are too faint for small text.
    **{
        f"{name}{theme}": value
        for theme in ("", "_dark")
        for name, value in {
            "block_background_fill": "var(--card)",
            "block_border_color": "var(--line)",
            "block_label_text_color": "var(--ink-soft)",
            "block_title_text_color": "var(--ink)",
            "block_info_text_color": "var(--ink-soft)",
            "border_color_primary": "var(--line)",
            "input_background_fill": "var(--ground)",
            "input_border_color": "var(--line)",
            "slider_color": "var(--accent)",
            "button_primary_background_fill": "var(--primary)",
            "button_primary_background_fill_hover": "color-mix(in srgb, var(--primary), black 15%)",
            "button_primary_border_color": "var(--primary)",
            "button_secondary_background_fill": "var(--card)",
            "button_secondary_background_fill_hover": "var(--track)",
            "button_secondary_border_color": "var(--line)",
            "button_secondary_text_color": "var(--ink)",
            "table_text_color": "var(--ink)",
            "table_even_background_fill": "var(--card)",
            "table_odd_background_fill": "var(--card)",
            "table_border_color": "var(--line)",
        }.items()
    },
    input_border_width="1px",
    button_border_width="1px",
)


def build_demo(classifier: Classifier, *, notice: str = "") -> gr.Blocks:
    """The page and its endpoints.

    Args:
        classifier: What answers.
        notice: Why another model than the one asked for answers; empty if it doesn't.
    """
    service = Service(classifier)
    model = classifier.model
    revision = f" @ {model['revision'][:7]}" if model["revision"] else ""
    folder = Path(tempfile.mkdtemp(prefix="classifier-jobs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    keep = int(LIMITS.keep_seconds)
    with gr.Blocks(
        title=f"{classifier.tasks.title} · message desk",
        analytics_enabled=False,
        delete_cache=(keep // 6, keep),  # visitors' uploads and downloads
    ) as demo:
        gr.HTML(page.header(classifier.tasks, f"Model: {model['id']}{revision} · {model['backend']}", notice))
        last_job = gr.BrowserState("", storage_key="file-job")
        analyzed = gr.State(None)
        jobs = JobQueue(classifier, folder, LIMITS)
        with gr.Tabs():
            with gr.Tab("Message"):
                message_tab(service, analyzed)
            with gr.Tab("File"):
                file_tab(jobs, last_job)
            with gr.Tab("Policy") as tab:
                policy_tab(jobs, tab, analyzed, last_job)
        add_endpoints(service)
    demo.queue(max_size=WAITING_REQUESTS)
    return demo


def add_endpoints(service: Service) -> None:
    """The public endpoints: what gradio_client, plain HTTP and MCP clients may call."""

    def classify(message: str) -> dict[str, Any]:
        """Classify one customer message and decide what the desk should do with it.

        Args:
            message: The message, of any length. What the model does not read is cut, and the answer says so.

        Returns:
            The most probable label of each task, confidence, probabilities, route with reasons, and latency.
        """
        try:
            return service.answer(message)[0].to_dict()
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:
            log.exception("A message could not be answered.")
            raise gr.Error(page.APOLOGY, print_exception=False) from None

    def explain(message: str) -> dict[str, Any]:
        """Tell which words decided the answer to a message, and what would change it.

        Args:
            message: The message. Only the part that the model reads is explained.

        Returns:
            The label of each task; each word with its place and, per task, how far the label's probability falls
            without it; the route, with whether it is fragile; the smallest edit found that changes the action.
        """
        try:
            return service.explain(message)[0].to_dict()
        except ClassifierError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:
            log.exception("A message could not be explained.")
            raise gr.Error(page.APOLOGY, print_exception=False) from None

    def model_info() -> dict[str, Any]:
        """Tell which model answers, its tasks and what each of their labels means, and its limits.

        Returns:
            Model id, revision and backend, tasks with questions and labels, longest input, policy version.
        """
        return service.classifier.info

    gr.api(classify, api_name="classify", **MODEL_EVENTS)
    gr.api(explain, api_name="explain", **MODEL_EVENTS)
    gr.api(model_info, api_name="model_info", queue=False)


def launch(demo: gr.Blocks, **options: Any) -> tuple[Any, str, str | None]:
    """Start the server with the page's looks and safeguards.

    Args:
        demo: What `build_demo` made.
        options: Further arguments of `gr.Blocks.launch`, such as ``server_port``.
    """
    return demo.launch(
        theme=THEME,
        css_paths=[PAGE_FILES / "page.css", PAGE_FILES / "file.css", PAGE_FILES / "policy.css"],
        js=(PAGE_FILES / "page.js").read_text(encoding="utf-8"),
        show_error=False,
        run_history=False,  # it would keep visitors' messages in their browser
        ssr_mode=False,
        max_file_size="200mb",
        footer_links=["api", "settings"],
        **options,
    )


def mcp_installed() -> bool:
    """Whether the extra is there with which the public endpoints are MCP tools too."""
    return importlib.util.find_spec("mcp") is not None


def load_classifier(model: str | None, revision: str | None, *, required: bool) -> tuple[Classifier, str]:
    """The model asked for; or, where the host's settings name one that can't be had, the embedded one and why.

    Args:
        model: A folder or Hub repository, None for the embedded model.
        revision: Commit, tag or branch of a Hub repository.
        required: Whether to fail instead of answering with the embedded model.

    Raises:
        ClassifierError: No model can be loaded.
    """
    if required or model is None:
        return Classifier.load(model, revision=revision), ""
    from classifier.hub import load_for_app  # only hosts that name a model need the Hub's client

    try:
        return load_for_app(model, revision)
    except ClassifierError as error:
        log.warning("%s The embedded model answers.", error)
        return Classifier.load(), f"{model} could not be loaded, so the embedded model answers. {error}"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line, with the environment as the second choice."""
    parser = argparse.ArgumentParser(prog="app.py", description="Start the page and its endpoints.")
    parser.add_argument("--model", help="model folder or Hub repository owner/name (else MODEL_ID, else embedded)")
    parser.add_argument("--revision", help="commit, tag or branch of a Hub repository (else MODEL_REVISION)")
    parser.add_argument("--policy", help="routing policy, a file as the Policy tab downloads it (else the model's)")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1; in a container 0.0.0.0)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also open a public link through Gradio's relay")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Load the model and serve the page until interrupted.

    Args:
        argv: Command line; that of the process if None.

    Returns:
        Exit status: 2 when model or policy can't be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio's own calls to this server
    args = arguments(argv)
    model = args.model or os.environ.get("MODEL_ID") or None
    revision = args.revision or os.environ.get("MODEL_REVISION") or None
    try:
        classifier, notice = load_classifier(model, revision, required=args.model is not None)
        if args.policy:
            classifier.use_policy(Policy.from_file(args.policy))
    except ClassifierError as error:
        print(error, file=sys.stderr)
        return 2
    for _ in classifier.classify_many(["Hello", *classifier.tasks.examples]):
        pass  # the first answers of a process are slow; no visitor should wait for them
    demo = build_demo(classifier, notice=notice)
    # A service manager ends the server like Ctrl-C does, so that visitors' files are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    launch(
        demo,
        server_name=args.host,
        server_port=args.port,
        share=args.share,
        mcp_server=mcp_installed(),
    )
    return 0


if os.environ.get("SPACES_ZERO_GPU"):
    import spaces

    # ZeroGPU stops a Space in which it finds no function for the GPU. The model answers in milliseconds
    # on the CPU, so this one is only ever found, never called.
    @spaces.GPU
    def _found_by_zero_gpu() -> None:
        """Stand where ZeroGPU looks for a function."""


if __name__ == "__main__":
    sys.exit(main())
