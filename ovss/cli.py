"""The command line, `ovss COMMAND` or `python -m ovss COMMAND`.

Imports the standard library only, so that `--help` is quick: a command imports its work when it runs.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Protocol

from ovss import __version__
from ovss.commands import app, bench, completion, datasets, export, info, reproduce, segment, training, weights
from ovss.commands.arguments import Parser


class Command(Protocol):
    """A module of `ovss.commands`: its line of help, its arguments, and its work, which returns the exit code."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


COMMANDS: dict[str, Command] = {
    "segment": segment,
    "app": app,
    "export": export,
    "datasets": datasets,
    "weights": weights,
    "reproduce": reproduce,
    "bench": bench,
    "info": info,
    "completion": completion,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 for success, 1 where some inputs failed, 2 for bad usage, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in training.PROGRAMS:  # whose arguments are Detectron2's, whichever engine there is
            return training.run(words)
        args = build_parser().parse_args(words)
        return COMMANDS[args.command].run(args)
    except BrokenPipeError:  # who reads has had enough, as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        return 128 + signal.SIGPIPE
    except (ValueError, OSError) as error:  # users' mistakes: config, words, weights, files
        print(f"ovss: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ovss: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """All commands of the table."""
    parser = Parser(prog="ovss", description="Open-vocabulary segmentation: label every pixel with any words.")
    parser.add_argument("--version", action="version", version=f"ovss {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.HELP, description=command.HELP))
    for name, text in training.PROGRAMS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser
