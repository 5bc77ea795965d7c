"""The `score` command: files, globs, URLs and pipes into scored files, with progress and resumption."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue
from typing import Any, Literal, TextIO

from .batch import Engine, Progress, ScoredFile, score_lines
from .errors import ClassifierError
from .predict import Classifier
from .result import Result
from .rows import open_table
from .windows import WINDOW
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
        ClassifierError: A glob finds nothing, several inputs would go to one file, or one onto itself.
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
    for source, target in pairs:
        if source != "-" and source == target:
            raise ClassifierError(f"{source!r} would overwrite itself; name another output.")
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


def checkpoint_path(target: str) -> Path:
    """Where the scored rows of an output are kept until it is finished: beside a local one."""
    if target == "-" or "://" in target:
        return Path(tempfile.gettempdir()) / f"classifier-{hashlib.sha256(target.encode()).hexdigest()[:16]}.scored"
    return Path(f"{target}.scored")


def score_file(classifier: Classifier, source: str, target: str, options: ScoreOptions) -> Iterator[Progress]:
    """Score one table.

    Args:
        classifier: The model.
        source: A path, URL, or ``"-"`` for standard input.
        target: A path, URL, or ``"-"`` for standard output.
        options: How to read and write.

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
    checkpoint = checkpoint_path(target)
    with open_table(
        source, text_column=options.text_column, delimiter=options.delimiter, encoding=options.encoding
    ) as table:
        for note in table.notes:
            print(f"{table.name}: {note}", file=sys.stderr)
        try:
            scored = ScoredFile.create(checkpoint, table, classifier, resume=options.resume)
        except OSError as error:
            raise ClassifierError(f"{str(checkpoint)!r} cannot be written: {error.strerror}. Check the path.") from None
        yield from scored.score(table, classifier, engine)
    write_table(scored.columns, scored.rows, target, format)
    checkpoint.unlink()


def stream_lines(classifier: Classifier, lines: TextIO, out: TextIO, text_column: str | None = None) -> None:
    """Answer lines as they come, each with one line of JSON, in order and flushed.

    A line is a message, or a JSON object whose keys are kept. What has come while the model was at work is
    answered together, so that a full queue is worked off at the speed of a file.

    Args:
        classifier: The model.
        lines: The input.
        out: The output.
        text_column: Key of the message in objects; ``text`` if None.
    """
    queue: SimpleQueue[str | None] = SimpleQueue()

    def read() -> None:
        for line in lines:
            queue.put(line)
        queue.put(None)

    threading.Thread(target=read, daemon=True).start()
    ended = False
    while not ended:
        arrived = [queue.get()]
        while len(arrived) < WINDOW and arrived[-1] is not None:
            try:
                arrived.append(queue.get_nowait())
            except Empty:
                break
        ended = arrived[-1] is None
        parsed = [_message(line, text_column or "text") for line in arrived if line and line.strip()]
        answers = classifier.classify_many((text for _, text in parsed), return_errors=True)
        for (own, _), answer in zip(parsed, answers, strict=True):
            found = answer.to_dict() if isinstance(answer, Result) else {"error": str(answer)}
            out.write(json.dumps({**own, **found}, ensure_ascii=False) + "\n")
        out.flush()


def _message(line: str, key: str) -> tuple[dict[str, Any], Any]:
    """The keys that a line's answer repeats, and its message."""
    if line.lstrip().startswith("{"):
        try:
            found = json.loads(line)
            return found, found.get(key)
        except ValueError:
            pass  # a message that happens to begin with a brace
    return {"text": line.strip()}, line.strip()


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
