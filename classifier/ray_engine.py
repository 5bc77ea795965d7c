"""Score rows on a Ray cluster with Ray Data: the same scorer, its windows on all machines.

Needs requirements-ray.txt here, and this package with the same model folder, under the same path, on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from .batch import score_rows
from .errors import ClassifierError
from .predict import WINDOW, Classifier
from .rows import Row


class _Worker:
    """A classifier in a worker process, on one core."""

    def __init__(self, folder: str, backend: str | None, text: int) -> None:
        self.classifier = Classifier.load(folder, backend=backend, threads=1)
        self.text = text

    def __call__(self, windows: dict[str, Any]) -> dict[str, list[str]]:
        """Score windows, each the JSON of its rows."""
        scored = []
        for window in windows["rows"]:
            rows = [Row(*row) for row in json.loads(window)]
            scored.append(json.dumps(list(score_rows(self.classifier, rows, self.text)), ensure_ascii=False))
        return {"rows": scored}


def score_rows_on_ray(
    classifier: Classifier, rows: Iterable[Row], text: int, *, address: str | None = None
) -> Iterator[list[Any]]:
    """What `score_rows` yields, row for row, computed by the workers of a cluster, one on each core.

    Rows go to the cluster's object store in windows, which spills to disk, so the workers need not see the file.

    Args:
        classifier: The model; workers load the same folder.
        rows: The rows of a table.
        text: Position of the text column.
        address: ``host:port`` of a running cluster; a cluster on this machine is started if None.

    Raises:
        ClassifierError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import pyarrow
        import ray
        import ray.data
    except ImportError:
        raise ClassifierError("--engine ray needs Ray Data; install requirements-ray.txt.") from None
    if not ray.is_initialized():
        try:
            ray.init(address, num_cpus=None if address else classifier.threads, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClassifierError(
                f"The Ray cluster {address!r} cannot be reached: {error}. Check the address."
            ) from None
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    stream, windows = iter(rows), list[Any]()
    while window := list(islice(stream, WINDOW)):
        block = json.dumps(window, ensure_ascii=False, default=str)
        windows.append(ray.put(pyarrow.table({"rows": [block]})))
    if not windows:
        return
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    scored = ray.data.from_arrow_refs(windows).map_batches(
        _Worker,
        fn_constructor_args=(str(classifier.folder.path), classifier.model["backend"], text),
        batch_size=1,
        num_cpus=1,
        concurrency=min(workers, len(windows)),
    )
    for done in scored.iter_rows():
        yield from json.loads(done["rows"])
