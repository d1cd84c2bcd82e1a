"""Arguments that several commands share, and the parser that answers bad usage with one line. Standard library only."""

import argparse
from typing import TYPE_CHECKING, NoReturn

from ovss.model_names import config_path

if TYPE_CHECKING:
    from ovss.predictor import Predictor
    from ovss.vocabulary import Vocabulary


DTYPES = ("float32", "bfloat16", "float16")


class Parser(argparse.ArgumentParser):
    """A parser that answers bad usage with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ovss: error: {message} (see {self.prog} --help)\n")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, where it runs and in what precision: what `predictor_of` reads."""
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument(
        "--model",
        type=_model,
        metavar="MODEL",
        help="a model of `ovss info --models`, or a trained one, a .safetensors file",
    )
    model.add_argument("--config-file", metavar="FILE", help="in its place a YAML file, as of configs/")
    parser.add_argument(
        "--weights",
        metavar="PATH",
        help="file or folder: the checkpoint of a CAT-Seg, CLIP's weights for training-free models; default: those "
        "published for MODEL, downloaded once",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: the config's")
    parser.add_argument("--dtype", choices=DTYPES, help="what it computes in; default: the config's")
    add_opts(parser)


def _model(text: str) -> str:
    """A name as it is, checked at once."""
    try:
        config_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def add_opts(parser: argparse.ArgumentParser) -> None:
    """Config values that a user changes."""
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="config values to change, in pairs")


def add_pictures(parser: argparse.ArgumentParser, written: str) -> None:
    """Pictures in, and the folder that what is `written` goes to."""
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="pictures, folders, patterns like 'a*.jpg', or - for a list of them on standard input, one a line",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help=f"where {written}")


def predictor_of(args: argparse.Namespace, vocabulary: "Vocabulary | None" = None) -> "Predictor":
    """The model that `add_model` asked for. Raises ValueError, ConnectionError or OSError, see `ovss.models.load`."""
    from ovss.models import load

    return load(
        args.model or args.config_file,
        args.weights,
        device=args.device,
        dtype=args.dtype,
        vocabulary=vocabulary,
        opts=args.opts,
    )
