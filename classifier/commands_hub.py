"""Commands that meet the Hugging Face Hub: push, pull, deploy."""

from __future__ import annotations

import argparse
import json
import sys

from .commands_serve import AddCommand
from .errors import ClassifierError


def add_commands(add: AddCommand) -> None:
    """Declare the commands of this file.

    Args:
        add: Adds a command: its name, what runs it, a summary; returns its parser.
    """
    push = add("push", _push, "Upload a model folder to the Hugging Face Hub, in one commit.")
    push.add_argument("folder", help="the model folder")
    push.add_argument("repo", help="the repository, owner/name; made if it is not there")
    push.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    push.add_argument("--revision", help="branch to commit to, made if it is not there; the default branch if left out")
    push.add_argument("--message", help="summary of the commit")
    push.add_argument("--license", help="licence for the model card, such as apache-2.0; left out if not given")
    push.add_argument("--notes", metavar="FILE", help="Markdown for the model card: data, labels, known weaknesses")
    push.add_argument("--json", action="store_true", help="print url, commit_url and commit as JSON")

    pull = add("pull", _pull, "Download and verify a model of the Hub; print the folder that holds it.")
    pull.add_argument("repo", help="the repository, owner/name")
    pull.add_argument("--revision", help="commit, tag or branch; only a commit always means the same files")
    pull.add_argument("--json", action="store_true", help="print path and commit as JSON")

    deploy = add("deploy", _deploy, "Create or update a Space; only shows what it would do, unless --yes is given.")
    deploy.add_argument("space", help="the Space, owner/name; made if it is not there")
    deploy.add_argument("--model", help="what it serves, a Hub repository owner/name; the embedded model by default")
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


def _push(args: argparse.Namespace) -> None:
    from .hub import push

    commit = push(
        args.folder,
        args.repo,
        private=args.private,
        revision=args.revision,
        message=args.message,
        license=args.license,
        notes=args.notes,
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

    if args.training and args.model is not None:
        raise ClassifierError("Give either --model owner/name, for the app, or --training.")
    if args.revision is not None and args.model is None:
        raise ClassifierError("--revision is of a model; give --model owner/name, too.")
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
