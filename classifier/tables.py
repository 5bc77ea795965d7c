"""Tables of messages: local files of the usual formats, and data sets of the Hub, as columns."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ClassifierError

#: Columns by name; all of one length.
Table = dict[str, list[Any]]

#: The public data sets that the benchmarks and auxiliary tasks use, by the names of their local folders.
HUB_NAMES = {
    "clinc150": "clinc/clinc_oos:plus",
    "banking77": "mteb/banking77",
    "tweet_emotion": "cardiffnlp/tweet_eval:emotion",
    "tweet_sentiment": "cardiffnlp/tweet_eval:sentiment",
}

# Local files are not read with `datasets`: it guesses types, so that the message "123" becomes a number and
# the label "N/A" nothing, it copies each file into a cache, and it can't say which row is wrong.


def read_table(source: str | Path, split: str = "train") -> Table:
    """Read a table.

    Args:
        source: A file (CSV, TSV, JSON, JSON Lines or Parquet, also with ``.gz``), a Hub data set
            ``owner/name`` or ``owner/name:configuration``, or a name in `HUB_NAMES`.
        split: Which split of a Hub data set.

    Raises:
        ClassifierError: There is no such file or data set, or it is not what its ending says.
    """
    path = Path(source)
    if path.is_file():
        return _read_file(path)
    name = HUB_NAMES.get(str(source), str(source))
    if not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", name):
        return _read_hub(name, split)
    raise ClassifierError(
        f"There is no file {str(source)!r}; give a CSV, TSV, JSON, JSON Lines or Parquet file, "
        "or a data set of the Hub as owner/name."
    )


def read_public(name: str, split: str = "train", folder: str | Path | None = None) -> Table:
    """One of the public data sets in `HUB_NAMES`, with a ``text`` column and one for the labels.

    Args:
        name: Its name, for instance ``"clinc150"``.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        folder: A folder with ``<name>/<split>.jsonl.gz``; the Hub, or its local cache, if None.

    Raises:
        ClassifierError: It cannot be found.
    """
    return read_table(name if folder is None else Path(folder) / name / f"{split}.jsonl.gz", split)


def _read_hub(name: str, split: str) -> Table:
    from datasets import ClassLabel, load_dataset

    repository, _, configuration = name.partition(":")
    try:
        data = load_dataset(repository, configuration or None, split=split)
    except Exception as error:  # whatever the network, the Hub and the reader of each format may raise
        raise ClassifierError(
            f"The data set {name!r} (split {split!r}) can be loaded neither from the Hub nor from its cache: "
            f"{error} Check the name and the network, or give a local file."
        ) from error
    table: Table = {column: list(data[column]) for column in data.column_names}
    for column, feature in data.features.items():
        if isinstance(feature, ClassLabel):
            table[column] = [None if value is None or value < 0 else feature.int2str(value) for value in table[column]]
    return table


def _read_file(path: Path) -> Table:
    endings = [ending.lower() for ending in path.suffixes]
    packed = bool(endings) and endings[-1] == ".gz"
    ending = endings[-2 if packed else -1] if len(endings) > packed else ""
    if ending not in _READERS:
        raise ClassifierError(f"{path.name!r} ends in {ending!r}; expected one of {', '.join(_READERS)}, or with .gz.")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if packed else content
        _check_content(path.name, ending, content)
        return _READERS[ending](content)
    except (OSError, EOFError, ValueError) as error:  # json's, csv's and pyarrow's errors are ValueErrors
        if isinstance(error, ClassifierError):
            raise
        raise ClassifierError(
            f"{str(path)!r} cannot be read as {ending[1:]}{', gzipped' if packed else ''}: {error}. "
            "Check that the file is complete and is what its ending says; text files are UTF-8."
        ) from error


def _check_content(name: str, ending: str, content: bytes) -> None:
    """Refuse content that another format's first bytes betray."""
    magic = {b"PAR1": "Parquet", b"PK\x03\x04": "a zip archive or Excel workbook", b"\x1f\x8b": "gzip"}
    found = next((kind for start, kind in magic.items() if content.startswith(start)), None)
    start = content[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if (found is None and start[:2] in (b'{"', b"[{")) or (start[:1] == b"{" and start[1:].lstrip()[:1] == b'"'):
        found = "JSON"
    right = {".parquet": "Parquet", ".json": "JSON", ".jsonl": "JSON"}.get(ending)
    if found is not None and found != right:
        raise ClassifierError(f"{name!r} is not what its ending says: it holds {found}. Rename or convert it.")


def _read_csv(content: bytes, separator: str = ",") -> Table:
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError("it is empty; expected a line with the names of the columns")
    header = rows[0]
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} cells, but {len(header)} columns are named")
    return {name: [row[column] for row in rows[1:]] for column, name in enumerate(header)}


def _read_json_lines(content: bytes) -> Table:
    rows = []
    for number, line in enumerate(content.decode("utf-8-sig").splitlines(), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    return _columns(rows)


def _read_json(content: bytes) -> Table:
    return _columns(json.loads(content.decode("utf-8-sig")))


def _columns(rows: Any) -> Table:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected a list of objects, one per message")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _read_parquet(content: bytes) -> Table:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(content)).to_pydict()


_READERS: dict[str, Callable[[bytes], Table]] = {
    ".csv": _read_csv,
    ".tsv": lambda content: _read_csv(content, "\t"),
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
