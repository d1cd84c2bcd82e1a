"""The command `ovss export`: a model in one file, for programs without this project. Standard library only."""

import argparse

from ovss.commands.arguments import add_model

HELP = "write a model as one file: ONNX or torch.export with fixed words, or a CAT-Seg as its authors' code loads it"
# What `--format` takes, and the suffix that says so where it is not given.
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "released": ".pth"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, the words and the size of its pictures, and what is written."""
    add_model(parser)
    add = parser.add_argument
    add("--output", required=True, metavar="FILE", help="the file to write, .onnx, .pt2 or .pth")
    add("--format", choices=tuple(SUFFIXES), help="default: as the suffix of --output says")
    add("--vocabulary", metavar="WORDS", help="'cat, wall', or a .json or .txt class file; default: the model's")
    add(
        "--size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="pixels of the pictures that the file takes; default: a square as large as the model's own",
    )
    add(
        "--no-check", dest="check", action="store_false", help="do not run what was written and compare it to the model"
    )


def run(args: argparse.Namespace) -> int:
    """See `ovss.export.run.export`."""
    from ovss.export.run import export

    return export(args)
