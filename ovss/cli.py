"""The command line, `ovss COMMAND` or `python -m ovss COMMAND`.

Imports the standard library only, so that `--help` is quick: a command imports its work when it runs.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from ovss import __version__
from ovss.datasets import cli as datasets


class Command(NamedTuple):
    """A subcommand: its line of help, what adds its arguments, and what does its work and returns the exit code."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser that answers bad usage with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ovss: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 for success, 1 where some inputs failed, 2 for bad usage, 130 for Ctrl-C."""
    args = build_parser().parse_args(argv)
    try:
        return COMMANDS[args.command].run(args)
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
        command.add_arguments(commands.add_parser(name, help=command.help, description=command.help))
    return parser


def add_picture_arguments(parser: argparse.ArgumentParser, written: str) -> "argparse._MutuallyExclusiveGroup":
    """Arguments of every command that runs a model on pictures; `written` says what goes into --output.

    Returns: the group of --config-file, of which exactly one must be given; a command may add others to it.
    """
    model = _model_arguments(parser, "configs/quickstart/cliptrase.yaml")
    add = parser.add_argument
    add("--input", required=True, nargs="+", metavar="PATH", help="pictures, folders, or patterns like 'a*.jpg'")
    add("--output", required=True, metavar="FOLDER", help=f"where {written}")
    add("--weights", metavar="PATH", help="local CLIP weights; short for --opts MODEL.CLIP.WEIGHTS PATH")
    add("--device", help="cpu, cuda, cuda:1, ...; default: the config's")
    return model


def _model_arguments(parser: argparse.ArgumentParser, example: str) -> "argparse._MutuallyExclusiveGroup":
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="config values to change, in pairs")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--config-file", metavar="FILE", help=f"the model, such as {example}")
    return model


def _add_packaged(model: "argparse._MutuallyExclusiveGroup") -> None:
    model.add_argument(
        "--model", type=_packaged, metavar="PATH", help="in its place: a trained model with its config inside"
    )


def config_opts(args: argparse.Namespace) -> list[str]:
    """The KEY VALUE overrides that `add_picture_arguments` read."""
    return args.opts + (["MODEL.CLIP.WEIGHTS", args.weights] if args.weights else [])


def _segment_arguments(parser: argparse.ArgumentParser) -> None:
    _add_packaged(add_picture_arguments(parser, "NAME_overlay.jpg, NAME_labels.png and NAME.json go"))
    parser.add_argument(
        "--vocabulary", metavar="WORDS", help="'cat, wall', or a .json or .txt class file; default: the config's"
    )


def _packaged(path: str) -> str:
    if not path.endswith(".safetensors"):
        raise argparse.ArgumentTypeError(
            f"{path} is no .safetensors file; other weights need --config-file and --opts MODEL.WEIGHTS {path}"
        )
    return path


def _segment(args: argparse.Namespace) -> int:
    from ovss.segment import segment

    return segment(args)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    _add_packaged(_model_arguments(parser, "configs/cat_seg/vitb_384.yaml, with --opts MODEL.WEIGHTS PATH"))
    parser.add_argument("--output", required=True, metavar="FILE", help="the .pth file to write")


def _export(args: argparse.Namespace) -> int:
    from ovss.export import export_released

    return export_released(args)


def _reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("ids", nargs="*", metavar="ID", help="published figures, such as cliptrase-336-voc20")
    add("--list", action="store_true", help="print all published figures")
    add("--markdown", action="store_true", help="with --list: as docs/reproduce.md")
    add("--weights", metavar="PATH", help="the published weights, a local file; the list says where they are from")
    add("--num-gpus", type=int, default=1, help="processes, one per GPU, as for train_net.py (default: 1)")
    add("--output", default="output/reproduce", metavar="FOLDER", help="where results go, into a folder for each ID")
    add("--opts", nargs="*", default=[], metavar="KEY VALUE", help="config values to change, in pairs")


def _reproduce(args: argparse.Namespace) -> int:
    from ovss.reproduce import reproduce

    return reproduce(args)


COMMANDS = {
    "segment": Command("segment pictures on disk with words of your choice", _segment_arguments, _segment),
    "export-released": Command("write a trained CAT-Seg as its authors' code loads it", _export_arguments, _export),
    "datasets": Command("download, prepare and check the benchmarks", datasets.add_arguments, datasets.run),
    "reproduce": Command("evaluate as published, expected and measured side by side", _reproduce_arguments, _reproduce),
}
