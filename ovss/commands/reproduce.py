"""The command `ovss reproduce`: published evaluations, expected and measured side by side. Standard library only."""

import argparse

from ovss.commands.arguments import add_opts

HELP = "evaluate as published, expected and measured side by side"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which figures, the weights, and where results go."""
    add = parser.add_argument
    add("ids", nargs="*", metavar="ID", help="published figures, such as cliptrase-336-voc20")
    add("--list", action="store_true", help="print all published figures")
    add("--markdown", action="store_true", help="with --list: as docs/reproduce.md")
    add("--weights", metavar="PATH", help="file, folder or name of `ovss weights list`; default: the published ones")
    add("--num-gpus", type=int, default=1, help="processes, one per GPU, as for train_net.py (default: 1)")
    add("--output", default="output/reproduce", metavar="FOLDER", help="where results go, into a folder for each ID")
    add_opts(parser)


def run(args: argparse.Namespace) -> int:
    """See `ovss.reproduce.reproduce`."""
    from ovss.reproduce import reproduce

    return reproduce(args)
