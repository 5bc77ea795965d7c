"""What the training page shows of a finished model, as HTML: scores, confusion matrices, comparison, push."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from huggingface_hub import CommitInfo

from .page import escape

#: The sets of messages in a report, in words.
SETS = {
    "validation_clean": "Held-out messages",
    "validation_noisy": "The same messages with typos and noise",
    "dev_clean": "Development messages",
    "dev_noisy": "Development messages with typos and noise",
}

CAUTION = "Messages that the current model was trained on would flatter it."

NO_REPORT = '<p class="fine">The report appears when the run is done.</p>'


def report(data: Mapping[str, Any] | None) -> str:
    """The finished model's scores on each evaluated set, and its confusion matrices on the first.

    Args:
        data: The model folder's report, None before the end of a run.
    """
    if data is None:
        return NO_REPORT
    parts = []
    for name, found in data["evaluation"].items():
        rows = [
            (task, accuracy(scores), f"{scores['macro_f1']:.3f}", f"{scores['ece']:.3f}")
            for task, scores in found["tasks"].items()
        ]
        head = ("task", "accuracy (95 % interval)", "macro-F1", "calibration error")
        parts.append(table(f"{SETS.get(name, name)} (n = {found['n']:,})", head, rows))
    name, found = next(iter(data["evaluation"].items()))
    matrices = "".join(matrix(task, scores) for task, scores in found["tasks"].items())
    title = f"Confusion matrices of the {SETS.get(name, name).lower()}: true label by row, answer by column"
    parts.append(f"<details open><summary>{escape(title)}</summary>{matrices}</details>")
    return f'<div class="check">{"".join(parts)}</div>'


def accuracy(scores: Mapping[str, Any]) -> str:
    """The accuracy of a task with its interval."""
    low, high = scores["interval"]
    return f"{scores['accuracy']:.1%} ({low:.1%} to {high:.1%})"


def matrix(task: str, scores: Mapping[str, Any]) -> str:
    """The confusion matrix of a task: a row per true label, shaded by its share of the row.

    Args:
        task: Its name.
        scores: With ``labels`` and ``confusion``.
    """
    names = list(scores["labels"])
    head = "".join(f'<th scope="col">{escape(words(name))}</th>' for name in names)
    body = ""
    for name, row in zip(names, scores["confusion"], strict=True):
        cells = "".join(f'<td style="--share:{count / max(sum(row), 1):.3f}">{count:,}</td>' for count in row)
        body += f'<tr><th scope="row">{escape(words(name))}</th>{cells}</tr>'
    return (
        f'<div class="scroll"><table class="figures matrix"><caption>{escape(task)}</caption>'
        f"<tr><td></td>{head}</tr>{body}</table></div>"
    )


def comparison(rows: Sequence[Mapping[str, Any]], warning: str = "") -> str:
    """The new model beside the current one, on the messages that were held out of the new one's training.

    Args:
        rows: Per task: n, accuracy of both, and the 95 % interval of the difference.
        warning: Why the comparison is not fair; empty if it is.
    """
    lines = []
    for row in rows:
        low, high = row["interval"]
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        lines.append(
            (
                row["task"],
                f"{row['n']:,}",
                f"{row['current']:.1%}",
                f"{row['new']:.1%}",
                f"{100 * (row['new'] - row['current']):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
                verdict,
            )
        )
    head = ("task", "messages", "current", "new", "difference in points (95 % interval)", "the new one is")
    notice = f'<p class="notice tone-warn">⚠️ {escape(warning)}</p>' if warning else f'<p class="fine">{CAUTION}</p>'
    found = table("Accuracy on the held-out messages", head, lines, worded=True)
    return f'<div class="check">{found}{notice}</div>'


def pushed(commit: CommitInfo) -> str:
    """Where the model went.

    Args:
        commit: The push.
    """
    url = escape(str(commit.repo_url))
    link = f'<a href="{url}" target="_blank" rel="noopener">{url}</a>'
    return f'<p class="notice tone-good">✅ Pushed to {link} (commit {escape(commit.oid[:7])}).</p>'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, worded: bool = False) -> str:
    """A table of figures.

    Args:
        caption: What it shows.
        head: Names of the columns.
        rows: The cells; the first of each row names it.
        worded: Whether the last column holds words rather than figures.
    """
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    kind = "figures worded" if worded else "figures"
    return (
        f'<div class="scroll"><table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<tr>{top}</tr>{body}</table></div>"
    )


def words(name: str) -> str:
    """A label as people read it."""
    return name.replace("_", " ")
