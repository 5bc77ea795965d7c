"""The command line: `python -m classifier COMMAND`. Data on stdout, progress on stderr, exit status 0, 1 or 2."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import ClassifierError

# Commands import what they need when they run, so that `--help` answers at once and
# the serving commands work without the training requirements.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line, those of this process if None.

    Returns:
        Exit status: 0, or 2 after a mistake of the user (argparse exits with 2 by itself). Anything else
        raises, which ends a process with status 1.
    """
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except ClassifierError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifier", description="Classify customer messages.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    classify = command("classify", _classify, "Classify one message.")
    classify.add_argument("text", nargs="?", help="the message; read from standard input if left out")
    _add_model(classify)
    classify.add_argument("--json", action="store_true", help="print the result as JSON")

    evaluate = command("evaluate", _evaluate, "Score a model on labelled messages.")
    _add_model(evaluate)
    evaluate.add_argument("--data", metavar="FILE", help="labelled messages, one column per task")
    evaluate.add_argument("--noisy", action="store_true", help="also score a fixed noisy copy of the messages")
    evaluate.add_argument("--report", metavar="FOLDER", help="write report.md, its plots and report.json there")
    evaluate.add_argument("--seed", type=int, default=0, help="seed of the bootstrap intervals (default 0)")
    evaluate.add_argument("--json", action="store_true", help="print all scores as JSON")
    suite = evaluate.add_argument_group("benchmarks", "train on a public benchmark and score its test split")
    suite.add_argument("--suite", choices=("seed", "clinc150", "banking77"), help="the benchmark, in place of --data")
    suite.add_argument(
        "--base", default="distilbert-base-uncased", help="encoder: folder or Hub name (default: %(default)s)"
    )
    suite.add_argument("--source", metavar="FOLDER", help="holds <benchmark>/<split>.jsonl.gz; the Hub if left out")
    suite.add_argument("--out", default="runs/suite", metavar="PATH", help="the run's files stand in PATH-<suite>.run")
    suite.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a training setting")

    calibrate = command("calibrate", _calibrate, "Fit the temperatures of a model folder to held-out messages.")
    calibrate.add_argument("--model", required=True, metavar="FOLDER", help="the model folder; its weights stay")
    calibrate.add_argument("--data", required=True, metavar="FILE", help="labelled messages not used for training")
    calibrate.add_argument("--json", action="store_true", help="print the temperatures as JSON")

    export = command("export", _export, "Make the ONNX files of a model folder and prove that they answer alike.")
    export.add_argument("--model", required=True, metavar="FOLDER", help="a model folder with its weights")
    export.add_argument("--samples", required=True, metavar="FILE", help="typical messages, such as the training data")
    export.add_argument(
        "--data", required=True, metavar="FILE", nargs="+", help="1,000 or more other messages, as proof"
    )
    export.add_argument("--float", action="store_true", help="also write the float32 file")
    export.add_argument("--json", action="store_true", help="print the proof as JSON")

    score = command("score", _score, "Classify every row of files, whatever their size.")
    score.add_argument(
        "inputs", nargs="+", metavar="IN", help="files, globs, URLs (s3://, hf://, ...), or - for a pipe"
    )
    score.add_argument("-o", "--output", default="-", metavar="OUT", help="a file, URL, folder/ or - (the default)")
    score.add_argument("--text-column", metavar="NAME", help="the column with the messages; found if left out")
    score.add_argument("--desk", metavar="NAME", help="refuse a model of another desk than this one")
    score.add_argument(
        "--format", help="of the output: csv, tsv, jsonl, json, xlsx or parquet; by its ending otherwise"
    )
    score.add_argument("--delimiter", help="of CSV input; detected if left out")
    score.add_argument("--encoding", help="of the input; detected if left out")
    score.add_argument("--resume", action="store_true", help="go on where a run that was stopped or killed came to")
    score.add_argument("--stream", action="store_true", help="answer the lines of standard input as they come")
    score.add_argument("--threads", type=int, metavar="N", help="batches that run at a time; one a core by default")
    score.add_argument("--engine", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster")
    score.add_argument("--ray-address", metavar="HOST:PORT", help="of a running cluster; a local one otherwise")
    score.add_argument("--quiet", action="store_true", help="no progress bar")
    score.add_argument("--json", action="store_true", help="a JSON summary of each file on standard error")
    _add_model(score)

    benchmark = command("benchmark", _benchmark, "Measure the speed of several ways to answer, side by side.")
    benchmark.add_argument("--data", metavar="FILE", help="messages, any table; the desk's examples if left out")
    benchmark.add_argument("--weights", metavar="FOLDER", help="float weights of the model, to compare with torch")
    benchmark.add_argument("--messages", type=int, default=1000, metavar="N", help="how many, spread over the file")
    benchmark.add_argument("--rounds", type=int, default=3, metavar="N")
    benchmark.add_argument("--threads", type=int, metavar="N", help="of every way; all cores if left out")
    benchmark.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_model(benchmark)
    _add_train(command("train", _train, "Fine-tune an encoder on labelled messages and write a model folder."))
    push = command("push", _push, "Upload a model folder to the Hugging Face Hub, in one commit.")
    push.add_argument("folder", help="the model folder")
    push.add_argument("repo", help="the repository, owner/name; made if it is not there")
    push.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    push.add_argument("--revision", help="branch to commit to, made if it is not there; the default branch if left out")
    push.add_argument("--message", help="summary of the commit")
    push.add_argument("--license", help="licence for the model card, such as apache-2.0; left out if not given")
    push.add_argument("--json", action="store_true", help="print url, commit_url and commit as JSON")

    pull = command("pull", _pull, "Download and verify a model of the Hub; print the folder that holds it.")
    pull.add_argument("repo", help="the repository, owner/name")
    pull.add_argument("--revision", help="commit, tag or branch; only a commit always means the same files")
    pull.add_argument("--json", action="store_true", help="print path and commit as JSON")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a model folder or a Hub repository owner/name; the embedded model by default")
    parser.add_argument("--revision", help="commit, tag or branch of a Hub repository")


def _add_train(train: argparse.ArgumentParser) -> None:
    def pair(text: str) -> tuple[str, str]:
        name, found, value = text.partition("=")
        if not (name and found and value):
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
        return name, value

    train.epilog = (
        "example: python -m classifier train --tasks support --data messages.csv --column text=message "
        "--base sentence-transformers/all-MiniLM-L6-v2 --out models/support. "
        "All further settings (see classifier/settings.py) can stand in a YAML file, --config. "
        "Several processes: accelerate launch --num_processes 2 -m classifier train ..."
    )
    train.add_argument("--config", metavar="FILE", help="YAML file of settings; flags override it")
    train.add_argument("--preset", help="recipe: config1, config2, config3 or ours (default)")
    train.add_argument(
        "--sweep", nargs="*", metavar="PRESET", help="train several presets (all by default), keep the best"
    )
    train.add_argument("--tasks", help="task set: a desk's name (default support), or a JSON file with a declaration")
    train.add_argument(
        "--data", nargs="+", metavar="PATH", help="CSV, TSV, JSON, JSON Lines or Parquet files, or Hub data sets"
    )
    train.add_argument(
        "--column", type=pair, action="append", metavar="NAME=COLUMN", help="where text or a task stands in --data"
    )
    train.add_argument(
        "--aux", type=pair, action="append", metavar="NAME=PATH[:COLUMN]", help="auxiliary task, trained beside"
    )
    train.add_argument("--validation", metavar="FILE", help="validate on this file instead of a split of the data")
    train.add_argument("--dev", metavar="FILE", help="held-out file for calibration and report")
    train.add_argument("--base", help="encoder: folder or Hub name, DistilBERT or BERT")
    train.add_argument("--out", metavar="FOLDER", help="model folder to write; the run's files go to FOLDER.run")
    for name in (
        "epochs",
        "max-steps",
        "batch-size",
        "accumulation",
        "max-tokens",
        "patience",
        "seed",
        "checkpoint-steps",
    ):
        train.add_argument(f"--{name}", type=int)
    for name in ("learning-rate", "layer-decay", "label-smoothing", "r-drop", "focal-gamma"):
        train.add_argument(f"--{name}", type=float)
    train.add_argument("--precision", choices=("auto", "bf16", "fp32"))
    train.add_argument("--pooling", choices=("mean", "first"))
    train.add_argument("--class-weights", action="store_true", default=None, help="weigh labels by inverse frequency")
    train.add_argument("--noise", type=float, metavar="SHARE", help="share of the messages that get noise (0: none)")
    train.add_argument("--report-to", nargs="+", metavar="TRACKER", help="for instance tensorboard, mlflow, trackio")
    train.add_argument("--resume", action="store_true", help="continue from the newest checkpoint, if there is one")
    train.add_argument("--benchmark", action="store_true", help="only measure the speed of training on this machine")
    train.add_argument("--json", action="store_true", help="print the report as JSON")


def _train(args: argparse.Namespace) -> None:
    from .folder import REPORT, read_json
    from .settings import TrainSettings, preset, read_settings_file

    given = {key: value for key, value in vars(args).items() if value is not None}
    values = {key: given[key] for key in given.keys() & TrainSettings.model_fields.keys() - {"data", "aux", "noise"}}
    if args.data:
        values["data"] = [{"path": path, "columns": dict(args.column or ())} for path in args.data]
    if args.aux:
        parts = [(name, *value.partition(":")) for name, value in args.aux]
        values["aux"] = [{"name": name, "path": path, "column": column or None} for name, path, _, column in parts]
    if args.noise is not None:
        values["noise"] = {"rate": args.noise} if args.noise else None
    named, filed = read_settings_file(args.config) if args.config else (None, {})
    settings = TrainSettings.build(preset(args.preset or named or "ours"), filed, values)

    if args.benchmark:
        _print_speed(settings, args.json)
        return

    from . import train  # torch is slow to load: only when the settings are right

    if args.sweep is None:
        train.train(settings, resume=args.resume)
    else:
        rows = train.sweep({**filed, **values}, args.sweep or None, resume=args.resume)
        print(f"{'preset':10} {'score':>7} {'best step':>10} {'steps':>7} {'minutes':>8}", file=sys.stderr)
        for row in rows:
            minutes = f"{row['seconds'] / 60:8.1f}"
            print(
                f"{row['preset']:10} {row['score']:7.4f} {row['best_step']:10} {row['step']:7} {minutes}",
                file=sys.stderr,
            )
    report = read_json(settings.out / REPORT)
    if args.json:
        print(json.dumps(report, ensure_ascii=False))
        return
    for name, part in report["evaluation"].items():
        print(f"{name} (n = {part['n']})")
        for task, scores in part["tasks"].items():
            print(f"  {task:16} accuracy {scores['accuracy']:6.1%}  macro-F1 {scores['macro_f1']:.3f}")
    print(f"The model is in {settings.out}, checkpoints, log and curves in {settings.run}.")


def _print_speed(settings: Any, as_json: bool) -> None:
    from .speed import measure_training

    found = measure_training(settings)
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['device']}, {found['precision']}, measured peak {found['peak_flops'] / 1e12:.2f} TFLOP/s")
    print(f"{'':10} {'messages/s':>11} {'tokens/s':>9} {'padding':>8} {'of peak':>8}")
    for name, row in found["ways"].items():
        speeds = f"{row['messages_per_second']:11.1f} {row['tokens_per_second']:9.0f}"
        print(f"{name:10} {speeds} {row['padding']:8.1%} {row['share_of_peak']:8.1%}")
    print(f"Our way trains on {found['ratio']:.1f} times as many messages a second.")


def _classify(args: argparse.Namespace) -> None:
    from .predict import Classifier

    text = sys.stdin.read() if args.text is None else args.text
    result = Classifier.load(args.model, revision=args.revision).classify(text)
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


def _evaluate(args: argparse.Namespace) -> None:
    if (args.suite is None) == (args.data is None):
        raise ClassifierError(
            "evaluate needs either --data with labelled messages, or --suite with a benchmark's name."
        )
    if args.suite is not None:
        _suite(args)
        return
    from .data import read_examples
    from .predict import Classifier
    from .report import evaluation_report, scores_table, write_report

    classifier = Classifier.load(args.model, revision=args.revision)
    examples = read_examples(args.data, classifier.tasks)
    found = evaluation_report(classifier, examples, seed=args.seed, noisy=args.noisy)
    if args.report:
        write_report(args.report, found, classifier, examples)
    print(json.dumps(found, ensure_ascii=False) if args.json else scores_table(found))


def _suite(args: argparse.Namespace) -> None:
    from .seed import run_seed, seed_table
    from .standards import run_standard, standard_table

    changes = {}
    for word in args.set:
        name, mark, value = word.partition("=")
        if not mark:
            raise ClassifierError(f"--set {word!r} has no '='; expected for instance --set learning_rate=1e-4.")
        changes[name] = value
    out = Path(f"{args.out}-{args.suite}")
    if args.suite == "seed":
        found, table = run_seed(args.base, out, folder=args.source, overrides=changes), seed_table
    else:
        found = run_standard(args.suite, args.base, out, folder=args.source, overrides=changes)
        table = standard_table
    print(json.dumps(found, ensure_ascii=False) if args.json else table(found))


def _calibrate(args: argparse.Namespace) -> None:
    from .calibrate import calibrate_folder
    from .data import read_examples
    from .folder import ModelFolder

    examples = read_examples(args.data, ModelFolder.read(args.model).tasks)
    found = calibrate_folder(args.model, examples)
    if args.json:
        print(json.dumps(found))
        return
    for task, values in found.items():
        print(
            f"{task}: temperature {values['before']:.2f} → {values['temperature']:.2f}, calibration error "
            f"{values['ece_before']:.3f} → {values['ece_after']:.3f} (cross-validated, {values['n']} messages)"
        )


def _export(args: argparse.Namespace) -> None:
    from .export import export_folder, read_texts

    proof = [text for file in args.data for text in read_texts(file)]
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


def _push(args: argparse.Namespace) -> None:
    from .hub import push

    commit = push(
        args.folder,
        args.repo,
        private=args.private,
        revision=args.revision,
        message=args.message,
        license=args.license,
    )
    if args.json:
        print(json.dumps({"url": str(commit.repo_url), "commit_url": commit.commit_url, "commit": commit.oid}))
        return
    print(commit.repo_url)
    print(f"Pushed; load it with Classifier.load({args.repo!r}, revision={commit.oid!r}).", file=sys.stderr)


def _pull(args: argparse.Namespace) -> None:
    from .hub import pull

    path, commit = pull(args.repo, revision=args.revision)
    if args.json:
        print(json.dumps({"path": str(path), "commit": commit}))
        return
    print(path)
    print(f"Commit {commit}; its checksums are right.", file=sys.stderr)


def _score(args: argparse.Namespace) -> None:
    from .predict import Classifier
    from .score import ScoreOptions, plan, score_file, show_progress, stream_lines

    if args.threads is not None and args.threads < 1:
        raise ClassifierError(f"--threads is {args.threads}; expected 1 or more.")
    if args.stream and (args.inputs, args.output) != (["-"], "-"):
        raise ClassifierError("--stream reads standard input and writes standard output; give - as the only input.")
    classifier = Classifier.load(args.model, revision=args.revision, threads=args.threads)
    if args.desk not in (None, classifier.tasks.name):
        raise ClassifierError(
            f"The model {classifier.model['id']!r} answers the desk {classifier.tasks.name!r}, not {args.desk!r}; "
            "name a model of that desk with --model."
        )
    if args.stream:
        stream_lines(classifier, sys.stdin, sys.stdout, args.text_column)
        return
    options = ScoreOptions(**{field.name: getattr(args, field.name) for field in dataclasses.fields(ScoreOptions)})
    for source, target in plan(args.inputs, args.output, args.format):
        last = show_progress(source, score_file(classifier, source, target, options), args.quiet or args.json)
        if args.json and last:
            print(json.dumps({"input": source, "output": target, **dataclasses.asdict(last)}), file=sys.stderr)


def _benchmark(args: argparse.Namespace) -> None:
    from .benchmark import run_benchmark, table
    from .predict import Classifier
    from .rows import open_table

    classifier = Classifier.load(args.model, revision=args.revision, threads=args.threads)
    if args.data:
        with open_table(args.data) as messages:
            at = messages.columns.index(messages.text_column)
            texts = [row.cells[at] for row in messages if not row.error]
    else:
        texts = list(classifier.tasks.examples)
    texts = texts[:: max(1, len(texts) // args.messages)][: args.messages]
    report = run_benchmark(classifier, texts, weights=args.weights, rounds=args.rounds)
    print(json.dumps(report, ensure_ascii=False) if args.json else table(report))


if __name__ == "__main__":
    sys.exit(main())
