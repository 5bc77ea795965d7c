"""The command line: `python -m classifier COMMAND`. Data on stdout, progress on stderr, exit status 0, 1 or 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from . import commands_evaluate, commands_hub, commands_policy, commands_serve, commands_train
from .errors import ClassifierError


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

    def add(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    for module in (commands_serve, commands_policy, commands_train, commands_evaluate, commands_hub):
        module.add_commands(add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
