"""One training run at a time, in a process of its own, with its whole state on disk.

Everything that is shown of a run is read from its folder. So a page that is refreshed, a second visitor and
a server that was restarted all find the same run, and the run goes on when nobody looks.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml

from .comparison import compare_models
from .data import read_examples
from .errors import ClassifierError
from .folder import REPORT, read_json, write_json
from .predict import Classifier
from .settings import TrainSettings

Phase = Literal["idle", "running", "stopped", "failed", "done"]

#: Steps between checkpoints: what a stop can lose.
CHECKPOINT_STEPS = 25

#: Seconds that a stopped run has to end before it is killed.
PATIENCE = 10.0

#: Lines of the run's output that are shown.
LAST_LINES = 200


@dataclass(frozen=True)
class RunState:
    """What is known of the run.

    Attributes:
        phase: Whether there is a run, and whether it goes on.
        settings: Its settings, None without a run.
        owner: Account that started it, None where nobody signs in.
        step: Optimizer steps made.
        total: Steps that it will make at most, None until the data have been read.
        steps: A line per step: ``step``, ``loss``, ``learning_rate``.
        validations: A line per validation: ``step``, ``score``, and the scores of each task.
        messages_per_second: Speed of the last steps, None before the first.
        seconds_left: At that speed, None before the first steps.
        error: Why it failed, in one sentence.
    """

    phase: Phase
    settings: TrainSettings | None = None
    owner: str | None = None
    step: int = 0
    total: int | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    validations: tuple[Mapping[str, Any], ...] = ()
    messages_per_second: float | None = None
    seconds_left: float | None = None
    error: str | None = None


class Trainer:
    """Starts, stops, resumes and watches the run of one folder. Safe to share between threads.

    Args:
        folder: Where the run's files are kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self.model = self.folder / "model"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def refuse_if_running(self) -> None:
        """Make sure that no run goes on; raises ClassifierError when one does."""
        if self._running() is not None:
            raise ClassifierError("A training run goes on; wait for its end, or stop it first.")

    def start(self, values: Mapping[str, Any], *, owner: str | None = None) -> None:
        """Start a new run. The files of the one before are removed.

        Args:
            values: Settings of training; ``out`` and ``checkpoint_steps`` are the trainer's.
            owner: Account that starts it.

        Raises:
            ClassifierError: A run goes on, or the settings cannot be used.
        """
        settings = TrainSettings.build(values, {"out": self.model, "checkpoint_steps": CHECKPOINT_STEPS})
        with self._lock:
            self.refuse_if_running()
            for path in (self.model, settings.run):
                shutil.rmtree(path, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "output.txt").unlink(missing_ok=True)
            text = yaml.safe_dump(json.loads(settings.model_dump_json()), sort_keys=False)
            (self.folder / "settings.yaml").write_text(text, encoding="utf-8")
            self._launch(owner)

    def resume(self, *, owner: str | None = None) -> None:
        """Continue the stopped or failed run from its newest checkpoint.

        Raises:
            ClassifierError: There is nothing to continue, or the run goes on.
        """
        with self._lock:
            self.refuse_if_running()
            if self.state().phase not in ("stopped", "failed"):
                raise ClassifierError("There is no stopped run to continue; start a new one.")
            self._launch(owner)

    def stop(self) -> None:
        """Stop the run; its checkpoints stay.

        Raises:
            ClassifierError: No run goes on.
        """
        with self._lock:
            process = self._running()
            if process is None:
                raise ClassifierError("No training run goes on; there is nothing to stop.")
            write_json(self.folder / "job.json", {**self._job(), "stopped": True})
            family = [process, *process.children(recursive=True)]
            for member in family:
                _signal(member.terminate)
            for member in psutil.wait_procs(family, timeout=PATIENCE)[1]:
                _signal(member.kill)
            if self._process is not None:
                self._process.wait()

    def state(self) -> RunState:
        """Read the run's state from disk."""
        job = self._job()
        if not job:
            return RunState("idle")
        settings = TrainSettings.build(yaml.safe_load((self.folder / "settings.yaml").read_text(encoding="utf-8")))
        lines = _log(settings.run / "log.jsonl")
        steps = tuple(line for line in lines if "loss" in line)
        total = _total(settings)
        speed = next((line["messages_per_second"] for line in reversed(steps) if "messages_per_second" in line), None)
        step = steps[-1]["step"] if steps else 0
        phase, error = self._phase(job)
        left = None if not speed or total is None else (total - step) * settings.batch_size / speed
        return RunState(
            phase=phase,
            settings=settings,
            owner=job.get("owner"),
            step=step,
            total=total,
            steps=steps,
            validations=tuple(line for line in lines if line.get("event") == "validation"),
            messages_per_second=speed,
            seconds_left=left if phase == "running" else None,
            error=error,
        )

    def log(self) -> str:
        """The last lines of what the run printed; of a progress bar only its last state."""
        path = self.folder / "output.txt"
        if not path.is_file():
            return ""
        text = path.read_bytes()[-100_000:].decode("utf-8", "replace")
        lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
        return "\n".join([line for line in lines if line][-LAST_LINES:])

    def report(self) -> dict[str, Any] | None:
        """The finished model's report, None before."""
        path = self.model / REPORT
        return read_json(path) if self.state().phase == "done" and path.is_file() else None

    def compare(self, current: Classifier) -> list[dict[str, Any]]:
        """Compare the finished model with another on the messages that were held out of its training.

        Args:
            current: The other model.

        Returns:
            What `compare_models` finds.

        Raises:
            ClassifierError: No model is finished, nothing was held out in a file, or there is nothing to compare.
        """
        state = self.state()
        if state.phase != "done" or state.settings is None:
            raise ClassifierError("There is no finished model yet; train one first.")
        if state.settings.validation is None:
            raise ClassifierError("This run held out no file of messages; give one as `validation`.")
        new = Classifier.load(self.model)
        held_out = read_examples(state.settings.validation, new.tasks, columns=state.settings.columns, lenient=True)
        return compare_models(new, current, held_out)

    def wait(self) -> RunState:
        """Wait for the end of a run that this process started.

        Returns:
            The state at the end.
        """
        if self._process is not None:
            self._process.wait()
        return self.state()

    def _launch(self, owner: str | None) -> None:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1"]
        command += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # training sets its own precision
        command += ["-m", "classifier", "train", "--config", str(self.folder / "settings.yaml"), "--resume"]
        # The package is found where this one is, whatever the working directory.
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        # A process id alone may be another's after a restart; with the time of its creation it names one process.
        created = psutil.Process(self._process.pid).create_time()
        write_json(
            self.folder / "job.json",
            {"pid": self._process.pid, "created": created, "owner": owner, "stopped": False},
        )

    def _job(self) -> dict[str, Any]:
        path = self.folder / "job.json"
        return read_json(path) if path.is_file() else {}

    def _running(self) -> psutil.Process | None:
        job = self._job()
        if self._process is not None:
            self._process.poll()  # an ended child stays in the process table until its parent asks
        try:
            process = psutil.Process(job["pid"])
            same = process.create_time() == job["created"] and process.status() != psutil.STATUS_ZOMBIE
            return process if same else None
        except (KeyError, psutil.NoSuchProcess):
            return None

    def _phase(self, job: Mapping[str, Any]) -> tuple[Phase, str | None]:
        if self._running() is not None:
            return "running", None
        if (self.model / REPORT).is_file():
            return "done", None
        if job["stopped"]:
            return "stopped", None
        said = [line for line in self.log().splitlines() if line.startswith("error: ")]
        return "failed", said[-1].removeprefix("error: ") if said else "The run ended before its time; see its log."


def _signal(send: Any) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself
        send()


def _log(path: Path) -> list[dict[str, Any]]:
    """The lines of the run's log; the last one may be half written and is left for the next time."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


def _total(settings: TrainSettings) -> int | None:
    """Steps of the whole run, from the data that it has read."""
    path = settings.run / "data.json"
    return settings.steps(read_json(path)["train"]["rows"]) if path.is_file() else None
