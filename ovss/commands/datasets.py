"""The command `ovss datasets ACTION`: arguments of its actions. Standard library only; an action imports its work.

An action adds its parser and says there what runs: a function of the arguments that returns the exit code.
"""

import argparse
from pathlib import Path

from ovss.datasets.downloads import SOURCES
from ovss.datasets.preparations import PREPARATIONS
from ovss.datasets.table import root

HELP = "download, prepare and check the benchmarks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_download(actions)
    _add_prepare(actions)
    _add_check(actions)


def run(args: argparse.Namespace) -> int:
    """Run the action that was asked for."""
    return args.run_action(args)


def add_root(parser: argparse.ArgumentParser) -> None:
    """The folder of the data sets, for all actions."""
    parser.add_argument(
        "--root", type=Path, default=root(), metavar="FOLDER", help="default: $DETECTRON2_DATASETS, else datasets"
    )


def _add_download(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "fetch what preparation reads, where its terms allow it"
    parser = actions.add_parser("download", help=text, description=text)
    parser.add_argument("name", choices=tuple(SOURCES), metavar="NAME", help=", ".join(SOURCES))
    add_root(parser)
    parser.add_argument("--split", nargs="+", choices=("train", "val"), default=("train", "val"), help="default: both")
    parser.add_argument("--keep-archives", action="store_true", help="leave them in ROOT/downloads when unpacked")
    parser.set_defaults(run_action=_download)


def _download(args: argparse.Namespace) -> int:
    from ovss.datasets.download import download

    return download(args.name, args.root, args.split, args.keep_archives)


def _add_prepare(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make the label images that evaluation reads from a set's own files"
    parser = actions.add_parser("prepare", help=text, description=text)
    sets = "; ".join(f"{name}: {preparation.help}" for name, preparation in PREPARATIONS.items())
    parser.add_argument("name", choices=tuple(PREPARATIONS), metavar="NAME", help=sets)
    add_root(parser)
    parser.add_argument("--split", nargs="+", metavar="SPLIT", help="train, val; default: those of CAT-Seg's scripts")
    parser.add_argument("--workers", type=_positive, metavar="N", help="processes; default: all cores")
    parser.add_argument("--overwrite", action="store_true", help="make files again that are there and whole")
    parser.add_argument("--dry-run", action="store_true", help="say what would be read and written, write nothing")
    parser.set_defaults(run_action=_prepare)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def _prepare(args: argparse.Namespace) -> int:
    from ovss.datasets.prepare_splits import prepare_splits

    return prepare_splits(args)


def _add_check(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "say which sets are there and whole, and draw some of their pictures with their labels"
    parser = actions.add_parser("check", help=text, description=text)
    names = "a data set, by any of its names, or those that a preparation makes unasked; default: all sets"
    parser.add_argument("names", nargs="*", metavar="SET", help=names)
    add_root(parser)
    drawings = Path("output/datasets")
    parser.add_argument(
        "--output", type=Path, default=drawings, metavar="FOLDER", help=f"where SET.png goes; default: {drawings}"
    )
    parser.add_argument("--all-files", action="store_true", help="read every pair of files, not only those drawn")
    parser.set_defaults(run_action=_check)


def _check(args: argparse.Namespace) -> int:
    from ovss.datasets.check_sets import check_sets

    return check_sets(args)
