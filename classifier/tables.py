"""Tables of messages: local files of the usual formats, and data sets of the Hub, as columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .errors import ClassifierError
from .rows import open_rows

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
        source: A file (CSV of any delimiter and encoding, Excel, JSON, JSON Lines or Parquet, also gzip'd), a
            Hub data set ``owner/name``, ``owner/name:configuration`` or ``owner/name:configuration@split``, or a
            name in `HUB_NAMES`.
        split: Which split of a Hub data set that names none.

    Raises:
        ClassifierError: There is no such file or data set, it is not what its ending says, or a row is damaged.
    """
    path = Path(source)
    if path.is_file():
        return _read_file(path)
    name, _, named_split = str(source).partition("@")
    name = HUB_NAMES.get(name, name)
    if not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", name):
        return _read_hub(name, named_split or split)
    raise ClassifierError(
        f"There is no file {str(source)!r}; give a CSV, Excel, JSON, JSON Lines or Parquet file, "
        "or a data set of the Hub as owner/name, owner/name:configuration or owner/name:configuration@split."
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
    """All rows of a file. Unlike for scoring, a damaged row stops it: its label may stand in the wrong column."""
    with open_rows(path, all_keys=True) as opened:
        if opened.format == "text":
            raise ClassifierError(f"{path.name!r} is plain text; give a table with named columns, such as a CSV file.")
        cells = []
        for number, row in enumerate(opened.rows(), 1):
            if row.error:
                raise ClassifierError(f"{path.name!r}, row {number}: {row.error} Correct the row, or take it out.")
            cells.append(row.cells)
        return {name: list(column) for name, column in zip(opened.columns, zip(*cells, strict=True), strict=True)}
