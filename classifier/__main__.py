"""The command line: `python -m classifier COMMAND`. Data on stdout, progress on stderr, exit status 0, 1 or 2."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
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
    evaluate.add_argument("--data", required=True, metavar="FILE", help="labelled messages, one column per task")
    evaluate.add_argument("--seed", type=int, default=0, help="seed of the bootstrap intervals (default 0)")
    evaluate.add_argument("--json", action="store_true", help="print all scores as JSON")

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
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a model folder or a Hub repository owner/name; the embedded model by default")
    parser.add_argument("--revision", help="commit, tag or branch of a Hub repository")


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
    from .data import read_examples
    from .evaluate import evaluate_classifier
    from .predict import Classifier
    from .report import scores_table

    classifier = Classifier.load(args.model, revision=args.revision)
    found = evaluate_classifier(classifier, read_examples(args.data, classifier.tasks), seed=args.seed)
    print(json.dumps(found, ensure_ascii=False) if args.json else scores_table(found))


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


if __name__ == "__main__":
    sys.exit(main())
