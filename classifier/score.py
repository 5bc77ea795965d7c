"""The `score` command: files, globs, URLs and pipes into scored files, with progress and resumption."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from filelock import FileLock, Timeout
from huggingface_hub.constants import HF_HOME

from .batch import Engine, score_lines
from .errors import ClassifierError
from .predict import Classifier
from .rows import Table, open_table
from .scored_file import Progress, ScoredFile
from .writers import output_format, write_table


@dataclass(frozen=True)
class ScoreOptions:
    """How to read and write.

    Attributes:
        text_column: The column with the messages; found if None.
        delimiter: Of CSV input; detected if None.
        encoding: Of text input; detected if None.
        format: Of the output; by its ending if None.
        resume: Go on where a run that was killed stopped.
        engine: ``"local"`` for this machine, ``"ray"`` for a cluster.
        address: Of a running Ray cluster; Ray's own choice if None.
    """

    text_column: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    format: str | None = None
    resume: bool = False
    engine: Literal["local", "ray"] = "local"
    address: str | None = None


def plan(inputs: Sequence[str], output: str, format: str | None = None) -> list[tuple[str, str]]:
    """Which input goes to which output.

    Args:
        inputs: Paths, URLs and globs.
        output: A file for one input; a folder (ending in ``/``, or existing) for any number.
        format: Ending of the files in a folder, ``csv`` if None.

    Raises:
        ClassifierError: A glob finds nothing, several inputs would go to one file, or one onto an input.
    """
    sources: list[str] = []
    for name in inputs:
        found = _glob(name) if any(sign in name for sign in "*?[") else [name]
        if not found:
            raise ClassifierError(f"No file matches {name!r}; check the path.")
        sources += found
    folder = output.endswith("/") or ("://" not in output and Path(output).is_dir())
    if len(sources) > 1 and not folder:
        raise ClassifierError(
            f"{len(sources)} files cannot go to the one file {output!r}; give a folder that ends in '/'."
        )
    if not folder:
        pairs = [(sources[0], output)]
    else:
        pairs = [(name, f"{output.rstrip('/')}/{_stem(name)}.{format or 'csv'}") for name in sources]
    targets = [target for _, target in pairs]
    files = {_identity(name): name for name in sources if name != "-"}
    for _, target in pairs:
        if target != "-" and (overwritten := files.get(_identity(target))):
            raise ClassifierError(f"The input {overwritten!r} would be overwritten; name another output.")
        if targets.count(target) > 1:
            raise ClassifierError(f"Several inputs would go to {target!r}; rename them or score them separately.")
    return pairs


def _glob(pattern: str) -> list[str]:
    import fsspec

    try:
        return sorted(file.full_name if "://" in pattern else file.path for file in fsspec.open_files(pattern, "rb"))
    except (OSError, ValueError, ImportError) as error:
        raise ClassifierError(f"{pattern!r} cannot be listed: {error}.") from None


def _stem(name: str) -> str:
    stem = "input" if name == "-" else PurePosixPath(name.replace("\\", "/")).name.removesuffix(".gz")
    return stem.rsplit(".", 1)[0]


def _identity(name: str) -> object:
    """What two names of one file share: its place on the disk, or the name itself where there is none."""
    try:
        found = Path(name).stat()
    except (OSError, ValueError):  # an URL, or a file that is not there yet
        return name if "://" in name else Path(name).resolve()
    return found.st_dev, found.st_ino


def checkpoint_path(target: str) -> Path:
    """Where the scored rows of an output are kept until it is finished: beside a local one, else in the Hub's cache."""
    if "://" in target:
        return Path(HF_HOME) / "classifier" / f"{hashlib.sha256(target.encode()).hexdigest()[:16]}.scored"
    return Path(f"{target}.scored")


def is_finished(source: str, target: str) -> bool:
    """Whether an earlier run made this local output from this local input, as it is now, to the end."""
    if target == "-" or checkpoint_path(target).exists():
        return False
    try:
        return Path(target).stat().st_mtime >= Path(source).stat().st_mtime
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _checkpoint(target: str) -> Iterator[Path]:
    """The checkpoint of an output, for this run alone.

    Raises:
        ClassifierError: Another run writes the same output, or its folder cannot be written.
    """
    if target == "-":
        with tempfile.TemporaryDirectory(prefix="classifier-") as folder:
            yield Path(folder) / "rows.scored"
        return
    path = checkpoint_path(target)
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ClassifierError(f"Another run writes {target!r} now; wait for it, or name another output.") from None
    except OSError as error:
        raise ClassifierError(f"{str(path)!r} cannot be written: {error.strerror}. Check the path.") from None
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # Windows keeps it while it is locked
            Path(lock.lock_file).unlink()
        lock.release()


def score_file(
    classifier: Classifier,
    source: str,
    target: str,
    options: ScoreOptions,
    opened: Callable[[Table], None] | None = None,
) -> Iterator[Progress]:
    """Score one table.

    Args:
        classifier: The model.
        source: A path, URL, or ``"-"`` for standard input.
        target: A path, URL, or ``"-"`` for standard output.
        options: How to read and write.
        opened: Called with the table before its first row is scored.

    Yields:
        The progress. The output is there after the last one.

    Raises:
        ClassifierError: The input cannot be read, or the output not be written.
    """
    format = output_format(target, options.format)  # a wrong name is noticed before the work
    engine: Engine = score_lines
    if options.engine == "ray":
        from .ray_engine import RayEngine

        engine = RayEngine(source, delimiter=options.delimiter, encoding=options.encoding, address=options.address)
    with _checkpoint(target) as checkpoint:
        with open_table(
            source, text_column=options.text_column, delimiter=options.delimiter, encoding=options.encoding
        ) as table:
            if opened:
                opened(table)
            scored = ScoredFile.create(checkpoint, table, classifier, resume=options.resume)
            yield from scored.score(table, classifier, engine)
        write_table(scored.columns, scored.rows, target, format)
        checkpoint.unlink()


def show_progress(name: str, updates: Iterator[Progress], quiet: bool = False) -> Progress | None:
    """Draw a bar until the job is done, if standard error is a terminal; the last progress, None if there is none."""
    from tqdm import tqdm

    last = None
    with tqdm(
        total=1.0, desc=name, disable=quiet or None, bar_format="{desc} {percentage:3.0f}% |{bar}| {postfix}"
    ) as bar:
        for last in updates:
            bar.n = last.share or 0.0
            left = "" if last.seconds_left is None else f", {last.seconds_left:,.0f} s left"
            share = last.errors / max(last.rows, 1)
            bar.set_postfix_str(f"{last.rows:,} rows, {last.rows_per_second:,.0f}/s{left}, {share:.1%} errors")
        if last:
            bar.n = 1.0
            bar.refresh()
    return last
