"""A file as long as one likes, scored to its end by the `score` command: rows per second and peak memory."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from .errors import ClassifierError
from .rows import open_table
from .windows import WINDOW

#: Runs a command and prints the peak of its resident memory. A small process does it: on Linux a child begins with the
#: peak of the process that started it, and takes part in what earlier children of that one needed.
_PEAK = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ended)
"""


def score_long_file(texts: Sequence[str], rows: int, options: Sequence[str] = ()) -> dict[str, Any]:
    """Write a CSV file with numbered messages, score it in a process of its own, and check every row of the result.

    Args:
        texts: The messages, repeated as often as it takes. Identical ones are answered once where they stand within
            a window, so there must be so many that none does.
        rows: Rows of the file. A million take about two gigabytes of the temporary folder.
        options: Further options of the `score` command.

    Returns:
        ``rows``, ``errors``, ``seconds`` of the whole command, ``rows_per_second`` and ``peak_mebibytes``, the
        largest resident memory of its process.

    Raises:
        ClassifierError: There are too few different messages, the command failed, or a row is lost or out of place.
    """
    texts = list(dict.fromkeys(texts))
    if len(texts) < 2 * WINDOW:
        raise ClassifierError(
            f"There are {len(texts)} different messages; give {2 * WINDOW} or more with --data, since repeated ones "
            "are answered once and would flatter the speed."
        )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.csv"), Path(folder, "out.csv")
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["number", "message"])
            writer.writerows(enumerate(islice(cycle(texts), rows)))
        command = [sys.executable, "-m", "classifier", "score", str(source), "-o", str(target), *options]
        started = time.perf_counter()
        measured = [sys.executable, "-c", _PEAK, *command, "--text-column", "message"]
        ended = subprocess.run(measured, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - started
        if ended.returncode:
            raise ClassifierError(f"The score command ended with status {ended.returncode}; its message stands above.")
        peak = int(ended.stdout)
        found = errors = 0
        with open_table(target, text_column="message") as table:
            error = table.columns.index("error")
            for found, row in enumerate(table, 1):
                errors += bool(row.cells[error])
                if row.cells[0] != str(found - 1):
                    raise ClassifierError(f"Row {found} of the result has number {row.cells[0]!r}; rows were lost.")
        if found != rows:
            raise ClassifierError(f"The result has {found:,} rows, the file {rows:,}; rows were lost.")
    return {
        "rows": rows,
        "errors": errors,
        "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds, 1),
        "peak_mebibytes": round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1),
    }
