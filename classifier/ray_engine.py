"""The ray engine: Ray Data runs the scorer of `batch` on all cores of a cluster."""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from .batch import Line, score_rows
from .errors import ClassifierError
from .folder import CALIBRATION, CONFIG, POLICY, TOKENIZER, WORDS, ModelFolder
from .plain_json import dump
from .predict import Classifier
from .rows import Row, Table, open_table
from .windows import WINDOW, WINDOW_CHARACTERS

_PACKAGE = Path(__file__).parent


class RayEngine:
    """Scores a table on Ray Data: one task reads it, and actors, one a core, hold the model and score windows of rows.

    Args:
        source: The table, a path or URL. It is read where this runs.
        delimiter: Of a CSV file; detected if None.
        encoding: Of a text format; detected if None.
        address: Of a running cluster, ``"host:port"`` or ``"auto"``. If None, the cluster that the environment
            variable RAY_ADDRESS names or that runs on this machine, else one that is started here.

    Raises:
        ClassifierError: Ray is not installed, or there is no such cluster.
    """

    def __init__(
        self, source: str, *, delimiter: str | None = None, encoding: str | None = None, address: str | None = None
    ) -> None:
        self.source = source if "://" in source else str(Path(source).resolve())
        self.options = {"delimiter": delimiter, "encoding": encoding}
        _connect(address)

    def __call__(self, classifier: Classifier, table: Table, done: int) -> Iterator[Line]:
        """The lines of the rows behind the first `done`, in order, as `score_lines` makes them.

        Raises:
            ClassifierError: The table turns out to be damaged, or the cluster fails.
        """
        import ray

        at = table.columns.index(table.text_column)
        reading = {"source": self.source, "text_column": table.text_column, **self.options}
        dataset = _dataset({"reading": reading, "done": done}, {**_shipped(classifier), "at": at})
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield from map(Line, *(batch[name].to_pylist() for name in Line._fields))
        except ray.exceptions.RayError as error:
            raise ClassifierError(
                f"Scoring on the Ray cluster broke off: {_told(error)} Go on with --resume."
            ) from None


def _connect(address: str | None) -> None:
    """Join a cluster, unless this process is part of one already; its workers get this package."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise ClassifierError(
            "--engine ray needs Ray Data, which is not installed: run `pip install -r requirements-ray.txt`, on each "
            "machine of the cluster, or leave it out."
        ) from None
    if ray.is_initialized():
        return
    if address and ":" in address and "://" not in address:
        _check_reachable(*address.rsplit(":", 1))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        ray.init(
            address=address,
            include_dashboard=False if address is None else None,
            logging_level=logging.WARNING,
            log_to_driver=False,
            # The model goes to the workers on its own, the embedded one too.
            runtime_env={"py_modules": [str(_PACKAGE)], "excludes": ["default_model", "__pycache__"]},
        )
    except Exception as error:  # it raises bare Exception where its processes don't start in time
        raise ClassifierError(f"The Ray cluster {address or 'on this machine'!r} cannot be used: {error}") from None


def _check_reachable(host: str, port: str) -> None:
    """Make sure that something answers at an address: where nothing does, Ray ends the whole process after minutes."""
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ClassifierError(
            f"No Ray cluster answers at {host}:{port} ({error}); give the address that `ray start --head` printed."
        ) from None


def _dataset(reading: dict[str, Any], scoring: dict[str, Any]) -> Any:
    """The lines of a table as a dataset, which is computed while it is iterated over."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    # About a window of messages; in blocks of the usual size, most files would be the work of one actor.
    context.target_max_block_size = WINDOW_CHARACTERS
    here = ray.get_runtime_context().get_node_id()
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    with DataContext.current(context):
        return (
            ray.data.from_items([reading], override_num_blocks=1)
            # The reader claims no core: where the actors hold all of them, it would wait for one for ever.
            .map_batches(_read, batch_size=None, num_cpus=0, label_selector={"ray.io/node-id": here})
            .map_batches(
                _Scorer,
                fn_constructor_kwargs=scoring,
                batch_size=WINDOW,
                batch_format="pyarrow",
                num_cpus=1,
                compute=ActorPoolStrategy(min_size=1, max_size=cores),
            )
        )


def _read(tables: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """Read a table as JSON of cells and error, so that cells of any type can stand in one column of Arrow."""
    for reading, done in zip(tables["reading"], tables["done"], strict=True):
        with open_table(**reading) as table:
            rows = islice(table, int(done), None)
            while window := list(islice(rows, WINDOW)):
                share = table.share_read()
                yield {"row": [json.dumps(row, default=str) for row in window], "share": [share] * len(window)}


class _Scorer:
    """An actor with the model.

    Args:
        files: The files of its folder by their paths in it, in the object store.
        model: What results say of it.
        at: Position of the text column.
    """

    def __init__(self, files: Any, model: Mapping[str, str | None], at: int) -> None:
        import ray

        with tempfile.TemporaryDirectory() as folder:
            for name, content in ray.get(files).items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            id = str(model["id"])
            self.classifier = Classifier(ModelFolder.read(folder), id=id, revision=model["revision"], threads=1)
        self.at = at

    def __call__(self, batch: Any) -> dict[str, list[Any]]:
        """Score rows."""
        rows = (Row(*json.loads(row)) for row in batch["row"].to_pylist())
        scored = list(score_rows(self.classifier, rows, self.at))
        return {
            "data": [dump(row) for row in scored],
            "failed": [bool(row[-1]) for row in scored],
            "share": batch["share"].to_pylist(),
        }


def _shipped(classifier: Classifier) -> dict[str, Any]:
    """What actors make the same classifier of, so that no other machine needs its folder."""
    import ray

    folder = classifier.folder.path
    onnx, _ = classifier.folder.onnx_file(classifier.model["backend"])
    paths = [folder / name for name in (CONFIG, TOKENIZER, WORDS, CALIBRATION)] + [onnx]
    files = {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}
    files[POLICY] = json.dumps(classifier.policy.to_dict()).encode()  # the one in force, see `use_policy`
    return {"files": ray.put(files), "model": dict(classifier.model)}


def _told(error: BaseException) -> str:
    """The last line of what went wrong on the cluster."""
    return str(error).strip().splitlines()[-1]
