"""Commands about trust in a model: evaluate, calibrate, export."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .commands_serve import AddCommand, add_columns, add_model
from .errors import ClassifierError


def add_commands(add: AddCommand) -> None:
    """Declare the commands of this file.

    Args:
        add: Adds a command: its name, what runs it, a summary; returns its parser.
    """
    evaluate = add("evaluate", _evaluate, "Score a model on labelled messages.")
    add_model(evaluate)
    evaluate.add_argument("--data", metavar="FILE", help="labelled messages, one column per task")
    add_columns(evaluate)
    evaluate.add_argument(
        "--backend",
        choices=("onnx-int8", "onnx-fp32"),
        help="which ONNX file of --model (default: int8)",
    )
    evaluate.add_argument("--noisy", action="store_true", help="also score a fixed noisy copy of the messages")
    evaluate.add_argument(
        "--against", nargs="+", metavar="FILE", help="also score baselines that learn from these labelled messages"
    )
    evaluate.add_argument("--by", metavar="COLUMN", help="also score each value of this column of --data by itself")
    evaluate.add_argument("--report", metavar="FOLDER", help="write report.md, its plots and report.json there")
    evaluate.add_argument("--seed", type=int, default=0, help="seed of the bootstrap intervals (default 0)")
    evaluate.add_argument("--json", action="store_true", help="print all scores as JSON")
    suite = evaluate.add_argument_group("benchmarks", "train on a public benchmark and score its test split")
    suite.add_argument("--suite", choices=("seed", "clinc150", "banking77"), help="the benchmark, in place of --data")
    suite.add_argument(
        "--base",
        help="encoder: folder or Hub name (default: distilbert-base-uncased); with --against a further baseline",
    )
    suite.add_argument("--source", metavar="FOLDER", help="holds <benchmark>/<split>.jsonl.gz; the Hub if left out")
    suite.add_argument("--out", default="runs/suite", metavar="PATH", help="the run's files stand in PATH-<suite>.run")
    suite.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a training setting")

    calibrate = add(
        "calibrate", _calibrate, "Fit temperatures to held-out messages, and count automation against error."
    )
    calibrate.add_argument("--model", required=True, metavar="FOLDER", help="the model folder; its weights stay")
    calibrate.add_argument("--data", required=True, metavar="FILE", help="labelled messages not used for training")
    add_columns(calibrate)
    calibrate.add_argument(
        "--count", metavar="FILE", help="count automation against error on these instead of on two thirds of --data"
    )
    calibrate.add_argument(
        "--max-wrong", type=float, metavar="SHARE", help="also keep this share of wrong automatic answers"
    )
    calibrate.add_argument("--confidence", type=float, default=0.95, metavar="SHARE", help="of that promise")
    calibrate.add_argument("--json", action="store_true", help="print the temperatures as JSON")

    export = add("export", _export, "Make the ONNX files of a model folder and prove that they answer alike.")
    export.add_argument("--model", required=True, metavar="FOLDER", help="a model folder with its weights")
    export.add_argument("--samples", required=True, metavar="FILE", help="typical messages, such as the training data")
    export.add_argument(
        "--data", required=True, metavar="FILE", nargs="+", help="1,000 or more other messages, as proof"
    )
    export.add_argument(
        "--schemes", action="store_true", help="write nothing; compare all ways to quantise on --data, in a table"
    )
    export.add_argument("--float", action="store_true", help="also write the float32 file")
    export.add_argument("--json", action="store_true", help="print the proof as JSON")


def _evaluate(args: argparse.Namespace) -> None:
    if (args.suite is None) == (args.data is None):
        raise ClassifierError(
            "evaluate needs either --data with labelled messages, or --suite with a benchmark's name."
        )
    if args.suite is not None:
        _suite(args)
        return
    from .data import read_examples
    from .examples import concatenate
    from .predict import Classifier
    from .report import evaluation_report, with_baselines, write_report
    from .scores_table import scores_table
    from .slices import by_value, read_values

    classifier = Classifier.load(args.model, revision=args.revision, backend=args.backend)
    columns = dict(args.column or ())
    examples = read_examples(args.data, classifier.tasks, columns=columns)
    values = read_values(args.data, args.by) if args.by else None
    found = evaluation_report(classifier, examples, seed=args.seed, noisy=args.noisy)
    if values:
        found["overall"]["by"] = {"column": args.by, "values": by_value(classifier, examples, values, seed=args.seed)}
    if args.against:
        train = concatenate([read_examples(path, classifier.tasks, columns=columns) for path in args.against])
        found = with_baselines(found, classifier, examples, train, args.base)
    if args.report:
        write_report(args.report, found, classifier, examples)
    print(json.dumps(found, ensure_ascii=False) if args.json else scores_table(found))


def _suite(args: argparse.Namespace) -> None:
    from .seed import run_seed, seed_table
    from .settings import read_overrides
    from .standards import run_standard, standard_table

    changes = read_overrides(args.set)
    out, base = Path(f"{args.out}-{args.suite}"), args.base or "distilbert-base-uncased"
    if args.suite == "seed":
        found, table = run_seed(base, out, folder=args.source, overrides=changes), seed_table
    else:
        found = run_standard(args.suite, base, out, folder=args.source, overrides=changes)
        table = standard_table
    print(json.dumps(found, ensure_ascii=False) if args.json else table(found))


def _calibrate(args: argparse.Namespace) -> None:
    from . import automation, budget
    from .calibrate import calibrate_folder
    from .data import read_examples
    from .folder import ModelFolder

    folder = ModelFolder.read(args.model)
    columns = dict(args.column or ())
    examples = read_examples(args.data, folder.tasks, columns=columns)
    counted = read_examples(args.count, folder.tasks, columns=columns) if args.count else None
    if args.max_wrong is None and not budget.countable(folder.policy, counted or examples):
        found = calibrate_folder(args.model, examples)
    else:
        if counted is None:
            # A promise must not rest on messages that the temperatures were fitted to, and it needs the most of them.
            numbers = range(len(examples))
            counted = examples.take([number for number in numbers if number % 3])
            examples = examples.take([number for number in numbers if number % 3 == 0])
        found = calibrate_folder(args.model, examples)
        curve = automation.remember(args.model, counted)
        # Five temperatures leave little of so many messages' chance, so the same ones are allowed, but it is said.
        which = "the same" if args.count and Path(args.count).resolve() == Path(args.data).resolve() else "other"
        print(f"Counted automation against error on {curve.n:,} {which} messages.", file=sys.stderr)
        if args.max_wrong is not None:
            print(automation.promise(args.model, curve, args.max_wrong, args.confidence), file=sys.stderr)
    if args.json:
        print(json.dumps(found))
        return
    for task, values in found.items():
        print(
            f"{task}: temperature {values['before']:.2f} → {values['temperature']:.2f}, calibration error "
            f"{values['ece_before']:.3f} → {values['ece_after']:.3f} (cross-validated, {values['n']} messages; "
            f"chance alone: {values['ece_perfect']:.3f}, in one of 20 cases {values['ece_perfect_95']:.3f} or more)"
        )


def _export(args: argparse.Namespace) -> None:
    from .export import export_folder
    from .rows import read_texts

    proof = [text for file in args.data for text in read_texts(file)]
    if args.schemes:
        from .schemes import compare_schemes, schemes_table

        rows = compare_schemes(args.model, read_texts(args.samples), proof)
        print(json.dumps(rows) if args.json else schemes_table(rows))
        return
    found = export_folder(args.model, read_texts(args.samples), proof, float_onnx=args.float)
    if args.json:
        print(json.dumps(found))
        return
    for backend, proved in found.items():
        print(f"{backend}: {proved['megabytes']} MB, compared with the model on {proved['n']} messages")
        for task, values in proved["tasks"].items():
            print(
                f"  {task}: {values['agreement']:.2%} of the labels the same, "
                f"largest probability difference {values['largest_difference']:.3f}"
            )
