"""What the training page does: its form becomes settings, its buttons act on the trainer, its visitors are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from . import headless, training_page, training_report
from .datacheck import declare_tasks
from .desks import DESKS
from .errors import ClassifierError
from .estimates import encoder_config, encoder_parameters, estimate, rate_of_run
from .folder import EMBEDDED, REPORT, read_json
from .hub import push
from .predict import Classifier
from .rows import open_rows, unique_names
from .settings import preset
from .tasks import RESERVED_NAMES
from .text_column import find_text_column
from .trainer import Trainer
from .uploads import Uploads

T = TypeVar("T")

#: The messages that come with the project, by desk.
OWN_MESSAGES = {
    name: tuple(sorted((Path(__file__).parents[1] / "examples" / "data").glob(f"{name}*.jsonl"))) for name in DESKS
}

#: Tasks of a desk that columns can be chosen for.
SLOTS = max(len(tasks.tasks) for tasks in DESKS.values())

#: How many outputs show the run.
SHOWN = 11


class Bench:
    """The trainer behind the page.

    Args:
        trainer: What trains.
        sign_in: Whether visitors must sign in to the Hub, as on a Space. Otherwise this machine's token pushes.
        may_push: Whether the page pushes at all. Where others reach it without signing in, it must not.
    """

    def __init__(self, trainer: Trainer, sign_in: bool, may_push: bool = True) -> None:
        self.trainer, self.sign_in, self.may_push = trainer, sign_in, may_push
        self.uploads = Uploads(trainer.folder / "uploads")

    def columns(self, file: str | None, desk: str) -> list[Any]:
        """Menus for a table's columns: the text, labels of one's own, and a menu per task of the desk."""
        columns, text = _noticed(lambda: _columns(file)) if file else ([], None)
        tasks = DESKS[desk].task_names if desk in DESKS else ()
        menus = [
            gr.Dropdown(columns, value=text, visible=bool(file)),
            gr.Dropdown(columns, value=[], multiselect=True, visible=bool(file) and not tasks),
        ]
        for slot in range(SLOTS):
            name = tasks[slot] if slot < len(tasks) else ""
            value = next((column for column in columns if column.lower() == name), None)
            menus.append(gr.Dropdown(columns, value=value, label=f"Column: {name}", visible=bool(file and name)))
        return menus

    def values(
        self,
        desk: str,
        file: str | None,
        base: str,
        recipe: str,
        epochs: float,
        text: str | None,
        own: list[str],
        *slots: Any,
    ) -> dict[str, Any]:
        """Settings of training from the form.

        Raises:
            ClassifierError: Something is not chosen yet.
        """
        values = {**preset(recipe), "base": base, "epochs": int(epochs)}
        if not file:
            own_messages = [path for path in OWN_MESSAGES.get(desk, ()) if path.is_file()]
            if not own_messages:
                raise ClassifierError("There are no messages for this task set here; upload a table of yours.")
            return {**values, "tasks": desk, "data": [{"path": str(path)} for path in own_messages]}
        if not text:
            raise ClassifierError("Choose the column that holds the messages.")
        if desk in DESKS:
            columns = {name: column for name, column in zip(DESKS[desk].task_names, slots, strict=False) if column}
        else:
            columns = dict(zip(_task_names(own), own, strict=True))
        if not columns:
            raise ClassifierError("Choose the columns that hold the labels; each becomes a task.")
        table = self.uploads.keep(Path(file), columns)
        source = {"path": str(table), "columns": {"text": text, **columns}}
        if desk in DESKS:
            return {**values, "tasks": desk, "data": [source]}
        declaration = table.with_name("declared-tasks.json")
        declare_tasks(table, columns, declaration)
        return {**values, "tasks": str(declaration), "data": [source]}

    def check(self, *form: Any) -> str:
        """What the data hold, and what a run on them would take."""

        def run() -> str:
            settings, found = headless.plan_run(self.trainer, self.values(*form))
            state = self.trainer.state()
            rate = None if state.settings is None else rate_of_run(state.settings, state.steps)
            try:
                parameters = encoder_parameters(encoder_config(settings.base, settings.revision))
            except ClassifierError as error:
                return training_page.check(found, [], f"No estimate of time and cost: {error}")
            return training_page.check(found, estimate(found.train, settings, parameters, rate))

        return _noticed(run)

    def start(self, profile: gr.OAuthProfile | None, *form: Any) -> list[Any]:
        """Start a run; what was said of the one before goes."""

        def run() -> None:
            account = self._account(profile)
            headless.start_run(self.trainer, self.values(*form), account)
            settings = self.trainer.state().settings
            self.uploads.forget([source.path for source in settings.data] if settings else [])

        _noticed(run)
        return [*self.look(None), "", ""]

    def stop(self, profile: gr.OAuthProfile | None) -> list[Any]:
        """Stop the run."""

        def run() -> None:
            self._owner(profile)
            self.trainer.stop()

        _noticed(run)
        return self.look(None)

    def resume(self, profile: gr.OAuthProfile | None) -> list[Any]:
        """Continue the stopped run."""
        _noticed(lambda: self.trainer.resume(owner=self._owner(profile)))
        return self.look(None)

    def compare(self) -> str:
        """The finished model beside the embedded one."""

        def run() -> str:
            rows = self.trainer.compare(Classifier.load())
            return training_report.comparison(rows, self._seen_before())

        return _noticed(run)

    def _seen_before(self) -> str:
        """Why the embedded model has an advantage; empty if it has none that is known."""
        settings = self.trainer.state().settings
        known = {Path(source["path"]).name for source in read_json(EMBEDDED / REPORT)["training"]["settings"]["data"]}
        shared = sorted(known & {Path(source.path).name for source in settings.data} if settings else set())
        if not shared:
            return ""
        return (
            f"The embedded model was trained on {', '.join(shared)}, most of these held-out messages among them, so "
            "this comparison flatters it. For a fair one compare on messages that neither has seen (`evaluate`)."
        )

    def push(self, repo: str, private: bool, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> str:
        """Push the finished model to a repository of the visitor."""

        def run() -> str:
            self._owner(profile)
            if not self.may_push:
                raise ClassifierError(
                    "Others reach this page without signing in, and it would push with this machine's account. Push "
                    "with `python -m classifier push`, or start the page on 127.0.0.1."
                )
            if self.trainer.state().phase != "done":
                raise ClassifierError("There is no finished model yet; train one first.")
            key = token.token if self.sign_in and token is not None else None
            return training_report.pushed(push(self.trainer.model, repo.strip(), private=private, token=key))

        return _noticed(run)

    def look(self, seen: str | None) -> list[Any]:
        """All that shows the run, or nothing new when it hasn't changed since the visitor's last look."""
        state, log = self.trainer.state(), self.trainer.log()
        now = f"{state.phase} {state.step} {len(state.validations)} {hash(log)}"
        if now == seen:
            return [gr.skip()] * SHOWN
        done = state.phase == "done"
        return [
            now,
            training_page.banner(state),
            gr.LinePlot(training_page.losses(state), visible=bool(state.steps)),
            gr.LinePlot(training_page.scores(state), visible=len(state.validations) > 1),
            log,
            gr.Button("Start" if state.phase == "idle" else "Start anew", interactive=state.phase != "running"),
            gr.Button(interactive=state.phase == "running"),
            gr.Button(interactive=state.phase in ("stopped", "failed")),
            training_report.report(self.trainer.report()),
            gr.Button(interactive=done),
            gr.Button(interactive=done),
        ]

    def _account(self, profile: gr.OAuthProfile | None) -> str | None:
        if not self.sign_in:
            return None
        if profile is None:
            raise ClassifierError("Sign in with Hugging Face first.")
        return profile.username

    def _owner(self, profile: gr.OAuthProfile | None) -> str | None:
        account, owner = self._account(profile), self.trainer.state().owner
        if self.sign_in and owner is not None and account != owner:
            raise ClassifierError(f"{owner} started this run; only they can stop, resume or push it.")
        return account


def _columns(file: str) -> tuple[list[str], str | None]:
    """The columns of a table, and the one that probably holds the messages."""
    with open_rows(file) as table:
        try:
            return list(table.columns), find_text_column(table.columns, table.preview, None, table.name)
        except ClassifierError:  # the visitor can name it
            return list(table.columns), None


def _task_names(columns: list[str]) -> list[str]:
    """Names of columns as those of tasks: identifiers that are not taken, each but once."""
    names: list[str] = []
    for column in columns:
        name = "".join(character if character.isalnum() else "_" for character in column.strip()).lower()
        name = f"task_{name}" if not name.isidentifier() or name in RESERVED_NAMES else name
        names.append(name)
    return list(unique_names(names))


def _noticed(action: Callable[[], T]) -> T:
    """The result of an action; the visitor's mistakes become a notice on the page."""
    try:
        return action()
    except ClassifierError as error:
        raise gr.Error(str(error), print_exception=False, title="That does not work") from None
