"""The command `ovss segment`: pictures and videos in, overlays, labels and areas out. Standard library only."""

import argparse

from ovss.commands.arguments import add_model, add_pictures
from ovss.outputs import DEFAULT, PICTURE

HELP = "segment pictures and videos with words of your choice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, pictures, words, and what is written how."""
    add_model(parser)
    add_pictures(parser, "NAME.json, NAME_overlay.jpg, NAME_labels.png and what else is asked for go")
    add = parser.add_argument
    add("--vocabulary", metavar="WORDS", help="'cat, wall', or a .json or .txt class file; default: the config's")
    add(
        "--outputs",
        nargs="+",
        choices=tuple(PICTURE),
        default=list(DEFAULT),
        metavar="WHAT",
        help=f"of {', '.join(PICTURE)}; panoptic and rle are COCO's formats; default: {' '.join(DEFAULT)}",
    )
    add(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="pictures or frames that go to the model together (default: 1)",
    )
    add("--resume", action="store_true", help="leave out what an earlier run of the same model and words wrote")
    add("--json", action="store_true", help="print one JSON object for each picture, and one at the end")
    add(
        "--ray", metavar="ADDRESS", help="share the pictures among the machines of this Ray cluster; 'local' starts one"
    )


def run(args: argparse.Namespace) -> int:
    """See `ovss.bulk.run.segment`."""
    from ovss.bulk.run import segment

    return segment(args)
