"""Commands that answer messages: classify, score, benchmark."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import ClassifierError

if TYPE_CHECKING:
    from .predict import Classifier
    from .rows import Table
    from .score import ScoreOptions

# Commands import what they need when they run, so that `--help` answers at once and
# the serving commands work without the training requirements.

AddCommand = Callable[[str, Any, str], argparse.ArgumentParser]


def add_commands(add: AddCommand) -> None:
    """Declare the commands of this file.

    Args:
        add: Adds a command: its name, what runs it, a summary; returns its parser.
    """
    classify = add("classify", _classify, "Classify one message.")
    classify.add_argument("text", nargs="?", help="the message; read from standard input if left out")
    add_model(classify)
    classify.add_argument(
        "--check-fragile",
        action="store_true",
        default=None,
        help="try changes of case, marks and spelling also where a person sees the message anyway",
    )
    classify.add_argument("--json", action="store_true", help="print the result as JSON")

    score = add("score", _score, "Classify every row of files, whatever their size.")
    score.add_argument(
        "inputs", nargs="+", metavar="IN", help="files, globs, URLs (s3://, hf://, ...), or - for a pipe"
    )
    score.add_argument("-o", "--output", default="-", metavar="OUT", help="a file, URL, folder/ or - (the default)")
    score.add_argument("--text-column", metavar="NAME", help="the column with the messages; found if left out")
    score.add_argument("--desk", metavar="NAME", help="refuse a model of another desk than this one")
    score.add_argument(
        "--format", help="of the output: csv, tsv, jsonl, json, xlsx or parquet; by its ending otherwise"
    )
    score.add_argument("--delimiter", help="of CSV input: one sign, or tab; detected if left out")
    score.add_argument("--encoding", help="of the input; detected if left out")
    score.add_argument("--resume", action="store_true", help="go on where a run that was stopped or killed came to")
    score.add_argument("--stream", action="store_true", help="answer the lines of standard input as they come")
    score.add_argument("--threads", type=int, metavar="N", help="batches that run at a time; one a core by default")
    score.add_argument("--engine", choices=["local", "ray"], default="local", help="this machine, or a Ray cluster")
    score.add_argument("--address", help="of a running Ray cluster, HOST:PORT or auto; else Ray starts one here")
    score.add_argument("--quiet", action="store_true", help="no progress bar")
    score.add_argument("--json", action="store_true", help="a JSON summary of each file on standard error")
    add_model(score)

    benchmark = add("benchmark", _benchmark, "Measure the speed of several ways to answer, side by side.")
    benchmark.add_argument("--data", metavar="FILE", help="messages, any table; the desk's examples if left out")
    benchmark.add_argument("--weights", metavar="FOLDER", help="float weights of the model, to compare with torch")
    benchmark.add_argument("--distilbert", action="store_true", help="the shape of distilbert-base, random weights")
    benchmark.add_argument("--rows", type=int, metavar="N", help="score a file of so many rows: speed and peak memory")
    benchmark.add_argument("--messages", type=int, default=1000, metavar="N", help="how many, spread over the file")
    benchmark.add_argument("--rounds", type=int, default=3, metavar="N")
    benchmark.add_argument("--threads", type=int, metavar="N", help="of every way; all cores if left out")
    benchmark.add_argument("--json", action="store_true", help="print the report as JSON")
    add_model(benchmark)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """The option that says where text and labels stand, the same for every command on labelled messages."""
    parser.add_argument(
        "--column", type=pair, action="append", metavar="NAME=COLUMN", help="where text or a task stands in the files"
    )


def pair(text: str) -> tuple[str, str]:
    """The two parts of NAME=VALUE; argparse shows the error."""
    name, found, value = text.partition("=")
    if not (name and found and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def add_model(parser: argparse.ArgumentParser) -> None:
    """The options that name a model, the same for every command."""
    parser.add_argument("--model", help="a model folder or a Hub repository owner/name; the embedded model by default")
    parser.add_argument("--revision", help="commit, tag or branch of a Hub repository")


def _classify(args: argparse.Namespace) -> None:
    from .predict import Classifier

    text = sys.stdin.read() if args.text is None else args.text
    classifier = Classifier.load(args.model, revision=args.revision)
    result = classifier.classify(text, check_fragile=args.check_fragile)
    if args.json:
        print(json.dumps(result.to_dict(), ensure_ascii=False))
        return
    width = max(map(len, result.labels))
    for task, label in result.labels.items():
        print(f"{task:{width}}  {label:20} {result.confidence[task]:4.0%}")
    route = result.route
    print(f"\n{route.action} → {route.queue} ({route.priority}{', automatic' if route.automatic else ''})")
    for reason in route.reasons:
        print(f"  - {reason.text}")
    if result.truncated:
        print(f"  The message is long: only its first {result.tokens} tokens were read.")
    print(f"\n{result.latency_ms['total']:.1f} ms, {result.model['id']} ({result.model['backend']})")


def _score(args: argparse.Namespace) -> None:
    from .predict import Classifier
    from .score import ScoreOptions, plan
    from .stream import stream_lines

    if args.threads is not None and args.threads < 1:
        raise ClassifierError(f"--threads is {args.threads}; expected 1 or more.")
    if args.address and args.engine != "ray":
        raise ClassifierError("--address names a Ray cluster; add --engine ray.")
    if args.engine == "ray" and (args.stream or "-" in args.inputs):
        raise ClassifierError("--engine ray cannot read a pipe; give files or URLs, or leave it out.")
    if args.stream and (args.inputs, args.output) != (["-"], "-"):
        raise ClassifierError("--stream reads standard input and writes standard output; give - as the only input.")
    if args.resume and args.output == "-":
        raise ClassifierError("--resume goes on with an output file; name it with -o.")
    classifier = Classifier.load(args.model, revision=args.revision, threads=args.threads)
    if args.desk not in (None, classifier.tasks.name):
        raise ClassifierError(
            f"The model {classifier.model['id']!r} answers the desk {classifier.tasks.name!r}, not {args.desk!r}; "
            "name a model of that desk with --model."
        )
    if args.stream:
        stream_lines(classifier, sys.stdin.buffer, sys.stdout.buffer, args.text_column)
        return
    options = ScoreOptions(**{field.name: getattr(args, field.name) for field in dataclasses.fields(ScoreOptions)})
    pairs = plan(args.inputs, args.output, args.format)
    failed = 0
    for source, target in pairs:
        try:
            _score_file(classifier, source, target, options, args)
        except ClassifierError as error:
            if len(pairs) == 1:
                raise
            failed += 1
            print(f"error: {source}: {error}", file=sys.stderr)
    if failed:
        raise ClassifierError(f"{failed} of {len(pairs)} files could not be scored; the others are done.")


def _score_file(
    classifier: Classifier, source: str, target: str, options: ScoreOptions, args: argparse.Namespace
) -> None:
    from .score import is_finished, score_file, show_progress

    about: dict[str, Any] = {}

    def opened(table: Table) -> None:
        about.update(text_column=table.text_column, encoding=table.encoding, notes=table.notes)
        if not args.json and not args.quiet:
            delimiter = f"delimiter {table.delimiter!r}" if table.delimiter else None
            how = ", ".join(filter(None, (table.format, table.encoding, delimiter)))
            for note in (f"{how}; the messages are in the column {table.text_column!r}.", *table.notes):
                print(f"{table.name}: {note}", file=sys.stderr)

    if options.resume and is_finished(source, target):
        print(f"{target}: finished before; delete it to score {source} again.", file=sys.stderr)
        return
    updates = score_file(classifier, source, target, options, opened)
    last = show_progress(source, updates, args.quiet or args.json)
    if args.json and last:
        summary = {"input": source, "output": target, **dataclasses.asdict(last), **about}
        print(json.dumps(summary), file=sys.stderr)


def _benchmark(args: argparse.Namespace) -> None:
    from .benchmark import run_benchmark, table
    from .predict import Classifier
    from .rows import open_table
    from .torch_ways import write_distilbert

    classifier = Classifier.load(args.model, revision=args.revision, threads=args.threads)
    if args.data:
        with open_table(args.data) as messages:
            at = messages.columns.index(messages.text_column)
            texts = [row.cells[at] for row in messages if not row.error]
    else:
        texts = list(classifier.tasks.examples)
    if args.rows:
        from .long_file import score_long_file  # not on Windows, which has no `resource`

        chosen = {"--model": args.model, "--revision": args.revision, "--threads": args.threads}
        options = [word for name, value in chosen.items() if value for word in (name, str(value))]
        found = score_long_file(texts, args.rows, options)
        print(json.dumps(found) if args.json else "\n".join(f"{name:16} {value:,}" for name, value in found.items()))
        return
    texts = texts[:: max(1, len(texts) // args.messages)][: args.messages]
    with tempfile.TemporaryDirectory() as folder:
        weights = args.weights
        if args.distilbert:
            write_distilbert(folder, classifier, texts)
            weights, classifier = folder, Classifier.load(folder, threads=args.threads)
        report = run_benchmark(classifier, texts, weights=weights, rounds=args.rounds)
    print(json.dumps(report, ensure_ascii=False) if args.json else table(report))
