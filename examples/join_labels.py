r"""Join the labels of public messages (those of examples/data) with the texts of your own copies.

    python examples/join_labels.py clinc150/train.jsonl.gz banking77/train.jsonl.gz complaints.csv -o public.jsonl \
        --validation validation.jsonl

    python examples/join_labels.py tweet_emotion/*.jsonl.gz --labels examples/data/tweet_labels.jsonl -o tweets.jsonl

    python examples/join_labels.py clinc/clinc_oos:plus@test mteb/banking77@test complaints.csv \
        --labels examples/data/dev_labels.jsonl -o gold_dev.jsonl

A table is a file or a data set of the Hub (owner/name:configuration@split). Its texts are found by their hash, so that
the order of rows, the names of columns and further rows do not matter. The validation file gets the messages that the
embedded model was judged on while it was developed, written and public ones (examples/data/validation.txt has their
hashes).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "examples/data"

#: The labels that the embedded model learned from.
TRAINED = "public_labels*.jsonl"

sys.path.insert(0, str(ROOT))

from classifier.errors import ClassifierError  # noqa: E402
from classifier.rows import Row, open_table  # noqa: E402
from classifier.tables import read_table  # noqa: E402
from classifier.text_column import find_text_column  # noqa: E402


def text_hash(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of the lower-cased text, white space collapsed."""
    return hashlib.sha256(" ".join(text.lower().split()).encode()).hexdigest()[:16]


def texts_of(table: str, column: str | None) -> Iterator[str]:
    """The messages of a file or of a data set of the Hub; rows that cannot be read are left out.

    Args:
        table: The file, or owner/name.
        column: The column with the messages; found by itself if None.

    Raises:
        ClassifierError: There is no such table, or it holds no messages.
    """
    if Path(table).is_file():
        with open_table(table, text_column=column) as rows:
            at = rows.columns.index(rows.text_column)
            yield from (row.cells[at] for row in rows if not row.error)
    else:
        found = read_table(table)
        sample = [Row(list(cells)) for cells in islice(zip(*found.values(), strict=True), 1000)]
        texts = found[find_text_column(list(found), sample, column, table)]
        yield from (text for text in texts if isinstance(text, str))


def join(labels: Iterable[dict[str, Any]], texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The labelled rows whose text is found, with it.

    Args:
        labels: Rows with ``text_sha256``; where they have ``words``, the text is cut after so many.
        texts: The messages of all tables.
    """
    wanted: dict[str, dict[str, Any]] = {row["text_sha256"]: row for row in labels}
    cuts = sorted({row["words"] for row in wanted.values() if "words" in row})
    for text in texts:
        words = text.split()
        for part in [text, *(" ".join(words[:cut]) for cut in cuts if cut <= len(words))]:
            row = wanted.pop(text_hash(part), None)
            if row is not None:
                yield {
                    "text": part,
                    **{key: value for key, value in row.items() if key not in ("text_sha256", "words")},
                }


def validation_rows(public: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The embedded model's validation messages, with ``source``: a public table's name, or the kind of a written one.

    Args:
        public: Public messages with their labels.
    """
    held_out = set((DATA / "validation.txt").read_text(encoding="utf-8").split())
    written = [
        json.loads(line)
        for file in sorted(DATA.glob("support*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    for row in (*written, *public):
        if text_hash(row["text"]) in held_out:
            yield {"source": row.get("kind"), **{key: value for key, value in row.items() if key != "kind"}}


def read_labels(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of labels.

    Raises:
        ClassifierError: A line is no JSON object with ``text_sha256`` and ``source``.
    """
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append({**row, "text_sha256": row["text_sha256"], "source": row["source"]})
        except (ValueError, KeyError, TypeError):
            raise ClassifierError(
                f"{str(file)!r}, line {number}: {line[:60]!r} is no label; expected JSON with text_sha256 and source."
            ) from None
    return rows


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="files or data sets of the Hub with the texts")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the JSON Lines file to write")
    parser.add_argument("--validation", type=Path, metavar="FILE", help="also write the validation messages there")
    parser.add_argument(
        "--labels", type=Path, nargs="+", metavar="FILE", help=f"the labels to join (default: examples/data/{TRAINED})"
    )
    parser.add_argument("--text-column", metavar="NAME", help="the column with the messages (default: found)")
    arguments = parser.parse_args()
    if arguments.labels and arguments.validation:
        parser.error("--validation needs the default labels; leave --labels out, or run twice.")
    texts = (text for table in arguments.tables for text in texts_of(table, arguments.text_column))
    try:
        labels = [row for file in arguments.labels or sorted(DATA.glob(TRAINED)) for row in read_labels(file)]
        rows = list(join(labels, texts))
        _write(arguments.out, rows)
        if arguments.validation:
            _write(arguments.validation, validation_rows(rows))
    except (ClassifierError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = Counter(row["source"] for row in rows)
    for source, count in Counter(row["source"] for row in labels).items():
        print(f"{source}: {found[source]:,} of {count:,} labelled messages found", file=sys.stderr)
    return 0


def _write(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
