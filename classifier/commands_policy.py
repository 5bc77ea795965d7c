"""Commands about decisions: explain one, decide again under another policy, keep an error budget."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .commands_serve import AddCommand, add_columns, add_model
from .errors import ClassifierError

if TYPE_CHECKING:
    from .predict import Classifier
    from .rows import Table


def add_commands(add: AddCommand) -> None:
    """Declare the commands of this file.

    Args:
        add: Adds a command: its name, what runs it, a summary; returns its parser.
    """
    explain = add("explain", _explain, "Show which words decided the answer to a message, and what would change it.")
    explain.add_argument("text", nargs="?", help="the message; read from standard input if left out")
    explain.add_argument(
        "--report", metavar="FILE", help="measure how faithful and how fast they are on these messages"
    )
    explain.add_argument("--messages", type=int, default=100, metavar="N", help="of the report, spread over the file")
    explain.add_argument("--json", action="store_true", help="print as JSON")
    add_model(explain)

    route = add("route", _route, "Decide again on earlier results under a policy file, without running the model.")
    route.add_argument("results", metavar="FILE", help="what `score` wrote, or lines of `classify --json`")
    route.add_argument("--policy", required=True, metavar="FILE", help="the policy, a JSON file")
    route.add_argument("--text-column", metavar="NAME", help="the column with the messages, for rules with terms")

    automation = add("automation", _automation, "Show how many messages could be automatic at what error.")
    automation.add_argument("--data", required=True, metavar="FILE", help="labelled messages not used for training")
    add_columns(automation)
    automation.add_argument("--max-wrong", type=float, metavar="SHARE", help="promise: greatest share of wrong answers")
    automation.add_argument("--confidence", type=float, default=0.95, metavar="SHARE", help="of the promise")
    automation.add_argument("--halves", type=int, metavar="N", help="choose on N random halves, count on the others")
    automation.add_argument("--json", action="store_true", help="print as JSON")
    add_model(automation)


def _explain(args: argparse.Namespace) -> None:
    from .explain import explain
    from .predict import Classifier

    classifier = Classifier.load(args.model, revision=args.revision)
    if args.report:
        _report_explanations(args, classifier)
        return
    text = sys.stdin.read() if args.text is None else args.text
    read = classifier.part_read(text)
    found = explain(read, classifier.probabilities, classifier.policy, rest=text[len(read) :])
    if args.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    for reason in found.route.reasons:
        print(f"  - {reason.text}")
    width = max(len(part.text) for part in found.parts)
    heads = {task: f"{task}: {label}" for task, label in found.labels.items()}
    print(f"\n{'':{width}}  {'  '.join(heads.values())}")
    for part in found.parts:
        weights = (
            f"{100 * part.weights[task]:+{len(task) + len(label) + 2}.0f}" for task, label in found.labels.items()
        )
        print(f"{part.text:{width}}  " + "  ".join(weights))
    print(f"\n{found.proof}")


def _report_explanations(args: argparse.Namespace, classifier: Classifier) -> None:
    from .faithful import WORDS, faithfulness, latency
    from .rows import read_texts

    texts = [classifier.part_read(text) for text in read_texts(args.report) if len(text.split()) > 1]
    long = [text for text in texts if len(text.split()) >= WORDS][: args.messages]
    texts = texts[:: max(1, len(texts) // args.messages)][: args.messages]
    speed = latency(long, classifier.probabilities, classifier.policy) if long else None
    figures = faithfulness(texts, classifier.probabilities)
    if args.json:
        print(json.dumps({"faithfulness": figures, "latency": speed}))
        return
    print("Mean fall of the label's probability without the first 10, 20 and 50 % of the words")
    for task, figure in figures.items():
        by_weight, at_random = (" ".join(f"{x:5.2f}" for x in figure[key]) for key in ("by_weight", "random"))
        low, high = figure["interval"]
        print(f"{task:16} by weight {by_weight}   at random {at_random}", end="   ")
        print(f"gain {figure['gain']:.2f} [{low:.2f}, {high:.2f}], n = {figure['n']}")
    if speed:
        print(
            f"\nA message of {WORDS} words is explained in {speed['median_ms']:.0f} ms (median; 95 %: "
            f"{speed['p95_ms']:.0f} ms; processor {speed['cpu_ms']:.0f} ms; n = {speed['n']}, "
            f"{classifier.threads} threads)."
        )


def _route(args: argparse.Namespace) -> None:
    from .policy import Policy

    policy = Policy.from_file(args.policy)
    counts: Counter[str] = Counter()
    for number, text, probabilities, before in _earlier_results(args.results, args.text_column):
        try:
            route = policy.route(probabilities, text)
        except KeyError as error:
            raise ClassifierError(
                f"The policy {policy.version!r} does not fit {args.results!r}: row {number} has no probability "
                f"of {error}; use results of the desk that the policy is for."
            ) from None
        counts.update(rows=1, automatic=route.automatic, changed=before not in ("", route.action))
        print(json.dumps({"row": number, "before": before, "route": route.to_dict()}, ensure_ascii=False))
    print(
        f"{counts['rows']:,} results: {counts['automatic']:,} automatic under {policy.version!r}, "
        f"{counts['changed']:,} with another action than before.",
        file=sys.stderr,
    )


def _automation(args: argparse.Namespace) -> None:
    from .automation import halves, labelled
    from .budget import Curve
    from .data import read_examples
    from .predict import Classifier

    classifier = Classifier.load(args.model, revision=args.revision)
    examples = read_examples(args.data, classifier.tasks, columns=dict(args.column or ()))
    messages = labelled(classifier, examples)
    curve = Curve.measure(classifier.policy, messages)
    report: dict[str, Any] = {"n": curve.n, "points": curve.points(args.confidence)}
    if args.halves and args.max_wrong:
        report["halves"] = halves(classifier.policy, messages, args.max_wrong, args.confidence, draws=args.halves)
    if args.max_wrong and not args.halves:
        choice = curve.choose(args.max_wrong, args.confidence)
        report["choice"] = vars(choice)
    if args.json:
        print(json.dumps(report))
        return
    print(f"{'confidence':>10} {'automatic':>10} {'wrong':>7} {'at most':>8}   (n = {curve.n})")
    for point in report["points"][::5]:
        print(f"{point['level']:10.3f} {point['automatic']:10.1%} {point['wrong']:7.1%} {point['at_most']:8.1%}")
    if "halves" in report:
        print("\nChosen on one half, counted on the other:")
        print("\n".join(f"{name:>12} {value:g}" for name, value in report["halves"].items()))
    if "choice" in report:
        print(f"\n{choice}")


def _earlier_results(path: str, text_column: str | None) -> Iterator[tuple[int, str, dict[str, Any], str]]:
    """Number, message, probabilities and earlier action of each result in a file; rows with an error are left out."""
    from .rows import open_rows

    if not Path(path).is_file():
        raise ClassifierError(f"There is no file {path!r}; give one that `score` wrote.")
    with open_rows(path) as table:
        scorings = [name for name in table.columns if re.fullmatch(r"probabilities(_\d+)?", name)]
        if not scorings:
            raise ClassifierError(
                f"{path!r} has no column 'probabilities', only {', '.join(table.columns)}; "
                "give a file that `score` wrote, or lines of `classify --json`."
            )
        last = scorings[-1]  # of a table that was scored more than once
        action = last.replace("probabilities", "route_action")
        named = _text_column(table, scorings[0], text_column)
        if named is None:
            print("No column with messages was found, so the terms of the policy were not looked for.", file=sys.stderr)
        for number, row in enumerate(table.rows(), 1):
            cells = dict(zip(table.columns, row.cells, strict=False))
            if not cells.get(last):
                continue
            text = str(cells.get(named) or "") if named else ""
            before = cells[action] if action in cells else _json(cells.get("route") or {}, path, number).get("action")
            yield number, text, _json(cells[last], path, number), str(before or "")


def _text_column(table: Table, probabilities: str, chosen: str | None) -> str | None:
    """The column that `score` read: it is found as there, among the columns that were there before."""
    from .batch import ROUTE_COLUMNS
    from .text_column import TEXT_NAMES, find_text_column

    at = table.columns.index(probabilities)
    first: Any = next((row.cells[at] for row in table.preview if row.cells[at]), {})
    added = 2 * len(_json(first, table.name, 1)) + ROUTE_COLUMNS.index("probabilities")
    before = table.columns[: max(0, at - added)]
    if chosen is not None or before:
        return find_text_column(table.columns if chosen else before, table.preview, chosen, table.name)
    return next((name for known in TEXT_NAMES for name in table.columns if name.lower() == known), None)


def _json(cell: Any, path: str, row: int) -> dict[str, Any]:
    try:
        return json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        raise ClassifierError(
            f"{path!r}, row {row}: {str(cell)[:60]!r} is no JSON; give the file as `score` wrote it."
        ) from None
