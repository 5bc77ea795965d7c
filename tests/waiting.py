"""Waiting for jobs."""

import time
from collections.abc import Iterator

from classifier.jobs import FINAL, Job


def watch(job: Job, seconds: float = 0.01) -> Iterator[Job]:
    """The job every so often until it is over, and once more then."""
    while job.state not in FINAL:
        yield job
        time.sleep(seconds)
    yield job


def finished(job: Job) -> Job:
    """The job when it is over."""
    *_, job = watch(job)
    return job
