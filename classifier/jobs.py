"""Jobs: files that people drop wait their turn, run step by step, can be stopped, and are found again by an id."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ClassifierError
from .predict import Classifier
from .rows import Table, open_table
from .scored_file import Progress, ScoredFile

_log = logging.getLogger(__name__)

#: States of a job; the last three are final.
WAITING, RUNNING, DONE, STOPPED, FAILED = "waiting", "running", "done", "stopped", "failed"
FINAL = (DONE, STOPPED, FAILED)

#: Results that are old enough are looked for this often, so that they go even when nobody sends another file.
SWEEP_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask of a shared machine.

    Attributes:
        max_bytes: Size of a file when uncompressed.
        max_rows: Rows of a file.
        max_jobs: Jobs that wait or run at a time.
        keep_seconds: How long the results of a finished job stay.
    """

    max_bytes: int = 1 << 30
    max_rows: int = 1_000_000
    max_jobs: int = 50
    keep_seconds: float = 6 * 3600


@dataclass
class Job:
    """One file to score.

    Attributes:
        id: What a second tab or a client finds it by; not guessable.
        name: The file's name.
        state: One of WAITING, RUNNING, DONE, STOPPED, FAILED.
        scored: The rows that are done.
        total: Rows of the file where they were counted before, else None.
        progress: How far it is; None before the first rows.
        error: Why it failed, for people.
        ended: When it reached a final state, in seconds of `time.monotonic`.
        exporting: Held while a download is made, so that two tabs don't write the same file.
    """

    id: str
    name: str
    folder: Path
    table: Table
    scored: ScoredFile
    total: int | None = None
    state: str = WAITING
    progress: Progress | None = None
    error: str = ""
    ended: float | None = None
    steps: Generator[Progress, None, None] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    exporting: threading.Lock = field(default_factory=threading.Lock)


class JobQueue:
    """Runs jobs in turn on one thread: each gets one step, then it is the next one's turn.

    So a short file that comes after a long one doesn't wait for its end.

    Args:
        classifier: The model.
        folder: Where files and results are kept.
        limits: What a job may ask.
    """

    def __init__(self, classifier: Classifier, folder: str | Path, limits: Limits | None = None) -> None:
        self.classifier, self.folder, self.limits = classifier, Path(folder), limits or Limits()
        self._jobs: dict[str, Job] = {}
        self._turns: deque[Job] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, path: str | Path, text_column: str | None = None, total: int | None = None) -> Job:
        """Queue a file; a copy is kept until the job is over.

        Args:
            path: The file.
            text_column: The column with the messages; found if None.
            total: Rows of the file, to tell how far the job is; None if they were not counted.

        Raises:
            ClassifierError: The file cannot be read, is over a limit, or too many jobs wait.
        """
        with self._wake:
            if sum(job.state not in FINAL for job in self._jobs.values()) >= self.limits.max_jobs:
                raise ClassifierError(f"{self.limits.max_jobs} files are waiting already; try again in some minutes.")
        id = secrets.token_urlsafe(9)
        folder = self.folder / id
        try:
            (folder / "input").mkdir(parents=True)  # apart, since the file may bear any name
            copy = Path(shutil.copyfile(path, folder / "input" / Path(path).name))
            table = open_table(
                copy, text_column=text_column, max_bytes=self.limits.max_bytes, max_rows=self.limits.max_rows
            )
            scored = ScoredFile.create(folder / "rows.scored", table, self.classifier)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        job = Job(id, copy.name, folder, table, scored, total)
        with self._wake:
            self._jobs[id] = job
            self._turns.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
                self._thread.start()
            self._wake.notify()
        return job

    def get(self, id: str) -> Job:
        """The job of that id.

        Raises:
            ClassifierError: There is none, or its results were deleted after a while.
        """
        job = self._jobs.get(id.strip())
        if job is None:
            hours = self.limits.keep_seconds / 3600
            raise ClassifierError(f"There is no job {id!r}; results are kept for {hours:g} hours. Send the file again.")
        return job

    def place(self, job: Job) -> int:
        """How many unfinished jobs came before this one."""
        earlier = list(self._jobs.values())
        return sum(other.state not in FINAL for other in earlier[: earlier.index(job)])

    def stop(self, id: str) -> Job:
        """Stop a job; what is done is kept. It takes effect after the step that runs, in about a second.

        Raises:
            ClassifierError: There is no such job.
        """
        job = self.get(id)
        job.stop.set()
        return job

    def _work(self) -> None:
        while True:
            with self._wake:
                if not self._turns:
                    self._wake.wait(SWEEP_SECONDS)
                job = self._turns.popleft() if self._turns else None
            if job is not None:
                state = self._step(job)
                with self._wake:
                    if state in FINAL:
                        self._end(job)
                    else:
                        self._turns.append(job)
                    job.state = state
            self._forget_old()

    def _step(self, job: Job) -> str:
        """Give a job its turn; its state afterwards."""
        try:
            if job.stop.is_set():
                return STOPPED
            if job.steps is None:
                job.steps = job.scored.score(job.table, self.classifier)
            job.progress = next(job.steps)
            return RUNNING
        except StopIteration:
            return DONE
        except ClassifierError as error:
            job.error = str(error)
        except Exception:
            _log.exception("job %s failed", job.id)
            job.error = "Something went wrong on our side; the rows scored so far are kept."
        return FAILED

    def _end(self, job: Job) -> None:
        if job.steps is not None:
            job.steps.close()  # cancels what it has under way
        job.table.close()
        shutil.rmtree(job.folder / "input", ignore_errors=True)
        job.ended = time.monotonic()

    def _forget_old(self) -> None:
        with self._wake:
            limit = time.monotonic() - self.limits.keep_seconds
            old = [job for job in self._jobs.values() if job.ended is not None and job.ended < limit]
            for job in old:
                del self._jobs[job.id]
        for job in old:
            shutil.rmtree(job.folder, ignore_errors=True)
