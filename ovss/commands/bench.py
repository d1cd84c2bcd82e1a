"""The command `ovss bench`: how fast a model is on this machine. Standard library until it runs."""

import argparse

from ovss.commands.arguments import add_model

HELP = "measure a model on this machine: time and memory for a picture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, picture, words, and how often."""
    add_model(parser)
    add = parser.add_argument
    add("--input", metavar="PICTURE", help="default: noise of --size")
    add("--size", type=int, nargs=2, default=[640, 853], metavar=("H", "W"), help="default: 640 853")
    add("--vocabulary", metavar="WORDS", help="'cat, wall', or a class file; default: the config's")
    add("--batch-size", type=int, default=1, metavar="N", help="copies of the picture at once (default: 1)")
    add("--runs", type=int, default=5, metavar="N", help="after one that is not counted (default: 5)")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """See `ovss.bench.bench`."""
    from ovss.bench import bench

    return bench(args)
