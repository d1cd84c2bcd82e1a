"""The command `ovss app`: the web page. Standard library only."""

import argparse
import re

from ovss.commands.arguments import DTYPES

HELP = "a web page: your pictures, your words, CAT-Seg and CLIPtrase side by side"
CAT_SEG, CLIPTRASE = "quickstart/cat_seg", "quickstart/cliptrase"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which models, where they run, and where the page is found."""
    add = parser.add_argument
    models = "a model of `ovss info --models`, or a trained one, a .safetensors file"
    add("--cat-seg", default=CAT_SEG, metavar="MODEL", help=f"{models}; default: {CAT_SEG}, which is embedded")
    add("--weights", metavar="PATH", help="the checkpoint of that CAT-Seg; default: those published, downloaded once")
    add("--cliptrase", default=CLIPTRASE, metavar="MODEL", help=f"the same for CLIPtrase; default: {CLIPTRASE}")
    add("--clip-weights", metavar="PATH", help="CLIP's weights for it; default: those published, downloaded once")
    add("--device", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one")
    add("--dtype", choices=DTYPES, help="what both compute in; default: the configs', float32")
    add("--host", default="127.0.0.1", help="address to listen on; default: %(default)s, this machine alone")
    site = "a name under which a reverse proxy serves it, such as demo.example.org; may be given several times"
    add("--served-as", action="append", default=[], type=_site, metavar="NAME", help=site)
    add("--port", type=_port, default=7860, help="default: %(default)s; 0: any that is free")


def run(args: argparse.Namespace) -> int:
    """See `ovss.page.server.serve`."""
    from ovss.page.server import serve

    return serve(args)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a port, 0 to 65535")
    return int(text)


def _site(text: str) -> str:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9.-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a name alone, such as demo.example.org or *.example.org")
    return text
