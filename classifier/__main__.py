"""The command line: `python -m classifier COMMAND`. Data on stdout, progress on stderr, exit status 0, 1 or 2."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
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

    _add_train(command("train", _train, "Fine-tune an encoder on labelled messages and write a model folder."))
    _add_hub(command)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a model folder or a Hub repository owner/name; the embedded model by default")
    parser.add_argument("--revision", help="commit, tag or branch of a Hub repository")


def _add_hub(command: Callable[[str, Any, str], argparse.ArgumentParser]) -> None:
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

    deploy = command("deploy", _deploy, "Create or update a Space; only shows what it would do, unless --yes is given.")
    deploy.add_argument("space", help="the Space, owner/name; made if it is not there")
    deploy.add_argument("--model", help="the model that the Space serves, a Hub repository owner/name")
    deploy.add_argument("--revision", help="commit, tag or branch of the model, pinned as it is now")
    deploy.add_argument("--training", action="store_true", help="deploy the training Space instead of the app")
    deploy.add_argument(
        "--variable", action="append", default=[], metavar="NAME=VALUE", help="a setting of the Space, public"
    )
    deploy.add_argument(
        "--secret", action="append", default=[], metavar="NAME", help="a secret; its value is read from the environment"
    )
    deploy.add_argument(
        "--hardware", help="flavour such as cpu-basic, zero-a10g or t4-small; left as it is if not given"
    )
    deploy.add_argument("--private", action="store_true", default=None, help="make a new Space private")
    deploy.add_argument("--yes", action="store_true", help="do it")


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


def _deploy(args: argparse.Namespace) -> None:
    from . import deploy

    if args.training == (args.model is not None):
        raise ClassifierError("Give either --model owner/name, for the app, or --training.")
    wrong = [text for text in args.variable if "=" not in text]
    if wrong:
        raise ClassifierError(f"The variable {wrong[0]!r} has no value; expected NAME=VALUE.")
    options = {
        "variables": dict(text.split("=", 1) for text in args.variable),
        "secrets": args.secret,
        "hardware": args.hardware,
        "private": args.private,
    }
    if args.training:
        plan = deploy.plan_training(args.space, **options)
    else:
        plan = deploy.plan_app(args.space, args.model, revision=args.revision, **options)
    if args.yes:
        print(deploy.apply(plan).repo_url)
        return
    print(deploy.describe(plan))
    for path in sorted(deploy.existing_files(args.space) - plan.files.keys()):
        print(f"would be removed: {path}")
    print("Nothing was sent; run it with --yes to do it.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
