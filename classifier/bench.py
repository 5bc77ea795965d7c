"""What the training page does: its form becomes settings, its buttons act on the trainer, its visitors are known."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from . import headless, training_page
from .datacheck import declare_tasks, encoder_config, encoder_parameters, estimate
from .desks import DESKS
from .errors import ClassifierError
from .folder import REPORT
from .hub import push
from .predict import Classifier
from .runlog import plot_curves
from .settings import preset
from .tables import read_table
from .trainer import RunState, Trainer

T = TypeVar("T")

#: The messages that come with the project, for its own desk.
OWN_MESSAGES = Path(__file__).parents[1] / "examples" / "data" / "support.jsonl"

#: Tasks of a desk that columns can be chosen for.
SLOTS = 8


class Bench:
    """The trainer behind the page.

    Args:
        trainer: What trains.
        sign_in: Whether visitors must sign in to the Hub, as on a Space. Otherwise this machine's token pushes.
    """

    def __init__(self, trainer: Trainer, sign_in: bool) -> None:
        self.trainer, self.sign_in = trainer, sign_in

    def columns(self, file: str | None, desk: str) -> list[Any]:
        """Menus for a table's columns: the text, labels of one's own, and a menu per task of the desk."""
        columns = _noticed(lambda: list(read_table(file))) if file else []
        tasks = DESKS[desk].task_names if desk in DESKS else ()
        text = next((name for name in ("text", "message", "body", "content") if name in columns), None)
        menus = [
            gr.Dropdown(columns, value=text, visible=bool(file)),
            gr.Dropdown(columns, value=[], visible=bool(file) and not tasks),
        ]
        for slot in range(SLOTS):
            name = tasks[slot] if slot < len(tasks) else ""
            value = name if name in columns else None
            menus.append(gr.Dropdown(columns, value=value, label=name, visible=bool(file) and bool(name)))
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
            if desk not in DESKS or not OWN_MESSAGES.is_file():
                raise ClassifierError("There are no messages for this task set here; upload a table of yours.")
            return {**values, "tasks": desk, "data": [{"path": str(OWN_MESSAGES)}]}
        if not text:
            raise ClassifierError("Choose the column that holds the messages.")
        # An upload lasts as long as the visitor's session; the run needs its table for longer.
        table = self.trainer.folder / "upload" / Path(file).name
        table.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, table)
        if desk in DESKS:
            columns = {name: column for name, column in zip(DESKS[desk].task_names, slots, strict=False) if column}
            return {**values, "tasks": desk, "data": [{"path": str(table), "columns": {"text": text, **columns}}]}
        columns = {"".join(c if c.isalnum() else "_" for c in name).lower(): name for name in own}
        if not columns:
            raise ClassifierError("Choose the columns that hold the labels; each becomes a task.")
        declaration = table.with_name("tasks.json")
        declare_tasks(table, columns, declaration)
        return {
            **values,
            "tasks": str(declaration),
            "data": [{"path": str(table), "columns": {"text": text, **columns}}],
        }

    def check(self, *form: Any) -> str:
        """What the data hold, and what a run on them would take."""

        def run() -> str:
            settings, found = headless.plan_run(self.trainer, self.values(*form))
            try:
                parameters = encoder_parameters(encoder_config(settings.base))
            except ClassifierError as error:
                return training_page.check(found, [], f"No estimate of time and cost: {error}")
            return training_page.check(found, estimate(found, settings, parameters))

        return _noticed(run)

    def start(self, profile: gr.OAuthProfile | None, *form: Any) -> list[Any]:
        """Start a run."""

        def run() -> None:
            account = self._account(profile)
            headless.start_run(self.trainer, self.values(*form), account)

        _noticed(run)
        return self.look(None)

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
        return _noticed(lambda: training_page.comparison(self.trainer.compare(Classifier.load())))

    def push(self, repo: str, private: bool, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> str:
        """Push the finished model to a repository of the visitor."""

        def run() -> str:
            self._owner(profile)
            if self.trainer.state().phase != "done":
                raise ClassifierError("There is no finished model yet; train one first.")
            key = token.token if self.sign_in and token is not None else None
            return training_page.pushed(push(self.trainer.model, repo.strip(), private=private, token=key))

        return _noticed(run)

    def look(self, seen: str | None) -> list[Any]:
        """All that shows the run, or nothing new when it hasn't changed since the visitor's last look."""
        state, log = self.trainer.state(), self.trainer.log()
        now = f"{state.phase} {state.step} {len(state.validations)} {hash(log)}"
        if now == seen:
            return [gr.skip()] * 10
        report = self.trainer.report()
        return [
            now,
            training_page.banner(state),
            training_page.losses(state),
            training_page.scores(state),
            log,
            gr.Button(interactive=state.phase != "running"),
            gr.Button(interactive=state.phase == "running"),
            gr.Button(interactive=state.phase in ("stopped", "failed")),
            training_page.report(report),
            gr.Image(self._curves(state), visible=report is not None),
        ]

    def _curves(self, state: RunState) -> str | None:
        """A picture of the finished run's curves."""
        if state.phase != "done":
            return None
        picture = self.trainer.folder / "curves.png"
        if not picture.is_file() or picture.stat().st_mtime < (self.trainer.model / REPORT).stat().st_mtime:
            plot_curves(picture, {"mean": [dict(line) for line in (*state.steps, *state.validations)]})
        return str(picture)

    def _account(self, profile: gr.OAuthProfile | None) -> str | None:
        if not self.sign_in:
            return None
        if profile is None:
            raise ClassifierError("Sign in with Hugging Face first.")
        return profile.username

    def _owner(self, profile: gr.OAuthProfile | None) -> str | None:
        account, owner = self._account(profile), self.trainer.state().owner
        if self.sign_in and account != owner:
            raise ClassifierError(f"{owner} started this run; only they can stop, resume or push it.")
        return account


def _noticed(action: Callable[[], T]) -> T:
    """The result of an action; the visitor's mistakes become a notice on the page."""
    try:
        return action()
    except ClassifierError as error:
        raise gr.Error(str(error), print_exception=False, title="That does not work") from None
