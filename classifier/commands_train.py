"""Commands that make and judge models: train, behaviour."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from .commands_serve import AddCommand, add_columns, add_model, pair


def add_commands(add: AddCommand) -> None:
    """Declare the commands of this file.

    Args:
        add: Adds a command: its name, what runs it, a summary; returns its parser.
    """
    _add_train(add("train", _train, "Fine-tune an encoder on labelled messages and write a model folder."))
    behaviour = add("behaviour", _behaviour, "Check a model against fixed safety, behaviour and bias cases.")
    behaviour.add_argument("--cases", metavar="FOLDER", help="with safety.jsonl, behaviour.jsonl and bias.jsonl")
    behaviour.add_argument("--json", action="store_true", help="print the report as JSON")
    add_model(behaviour)


def _behaviour(args: argparse.Namespace) -> None:
    from .behaviour import CASES, as_text, run
    from .predict import Classifier

    reports = run(Classifier.load(args.model, revision=args.revision), args.cases or CASES)
    if args.json:
        print(json.dumps(reports, ensure_ascii=False))
        return
    for line in as_text(reports):
        print(line)


def _add_train(train: argparse.ArgumentParser) -> None:
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
        "--data", nargs="+", metavar="PATH", help="CSV, Excel, JSON, JSON Lines or Parquet files, or Hub data sets"
    )
    add_columns(train)
    train.add_argument(
        "--aux", type=pair, action="append", metavar="NAME=PATH[:COLUMN]", help="auxiliary task, trained beside"
    )
    train.add_argument("--teachers", nargs="+", metavar="MODEL", help="trained models whose mean answer is learned too")
    train.add_argument("--unlabelled", nargs="+", metavar="PATH", help="messages that only the teachers answer")
    train.add_argument("--validation", metavar="FILE", help="validate on this file instead of a split of the data")
    train.add_argument("--dev", metavar="FILE", help="held-out file for calibration and report")
    train.add_argument("--base", help="encoder: folder or Hub name, DistilBERT or BERT")
    train.add_argument(
        "--teacher",
        action="store_true",
        default=None,
        help="--base may be any encoder, or a teacher; the model can only teach",
    )
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
    for name in ("learning-rate", "layer-decay", "label-smoothing", "r-drop", "focal-gamma", "distill"):
        train.add_argument(f"--{name}", type=float)
    train.add_argument("--precision", choices=("auto", "bf16", "fp32"))
    train.add_argument("--pooling", choices=("mean", "first"))
    train.add_argument("--class-weights", action="store_true", default=None, help="weigh labels by inverse frequency")
    train.add_argument("--noise", type=float, metavar="SHARE", help="share of the messages that get noise (0: none)")
    train.add_argument("--spelling", metavar="LANGUAGE", help="dictionary that serving mends spelling by, or none")
    train.add_argument("--report-to", nargs="+", metavar="TRACKER", help="for instance tensorboard, mlflow, trackio")
    train.add_argument("--resume", action="store_true", help="continue from the newest checkpoint, if there is one")
    train.add_argument("--benchmark", action="store_true", help="only measure speed, on --max-steps batches")
    train.add_argument("--json", action="store_true", help="print the report as JSON")


def _train(args: argparse.Namespace) -> None:
    from .evaluate import OVERALL
    from .folder import REPORT, read_json
    from .scores_table import scores_table
    from .settings import TrainSettings, preset, read_settings_file

    given = {key: value for key, value in vars(args).items() if value is not None}
    values = {key: given[key] for key in given.keys() & TrainSettings.model_fields.keys() - {"data", "aux", "noise"}}
    named, filed = read_settings_file(args.config) if args.config else (None, {})
    columns = dict(args.column or ())
    if columns:
        values["columns"] = columns
    if args.data:
        values["data"] = [{"path": path, "columns": columns} for path in args.data]
    elif columns and "data" in filed:
        values["data"] = [{**source, "columns": {**columns, **source.get("columns", {})}} for source in filed["data"]]
    if args.aux:
        values["aux"] = [{"name": name, **_path_and_column(value)} for name, value in args.aux]
    if args.noise is not None:
        values["noise"] = {"rate": args.noise} if args.noise else None
    if args.spelling == "none":
        values["spelling"] = None
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
        print(f"{name.replace('_', ', ')}: {part['n']} messages\n")
        print(scores_table({**part["tasks"], OVERALL: part["overall"]}), end="\n\n")
    print(f"The model is in {settings.out}, checkpoints, log and curves in {settings.run}.")


def _path_and_column(value: str) -> dict[str, str | None]:
    """The parts of PATH[:COLUMN]. One colon in the name of a Hub data set stands before its configuration."""
    from .sources import ENDINGS

    path, mark, column = value.rpartition(":")
    of_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not path.endswith((*ENDINGS, ".gz"))
    whole = not mark or of_hub or Path(value).is_file()
    return {"path": value, "column": None} if whole else {"path": path, "column": column}


def _print_speed(settings: Any, as_json: bool) -> None:
    from .speed import measure_training

    found = measure_training(settings, batches=settings.max_steps or 4)
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['device']}, {found['precision']}, measured peak {found['peak_flops'] / 1e12:.2f} TFLOP/s")
    print(f"{'':10} {'messages/s':>11} {'tokens/s':>9} {'padding':>8} {'of peak':>8}")
    for name, row in found["ways"].items():
        speeds = f"{row['messages_per_second']:11.1f} {row['tokens_per_second']:9.0f}"
        print(f"{name:10} {speeds} {row['padding']:8.1%} {row['share_of_peak']:8.1%}")
    print(f"Our way trains on {found['ratio']:.1f} times as many messages a second.")
