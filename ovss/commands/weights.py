"""The command `ovss weights ACTION`: published weights, listed, downloaded, verified. Standard library only."""

import argparse

HELP = "list, download and verify the published weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    text = "print the table of published weights, and which of them are here"
    listing = actions.add_parser("list", help=text, description=text)
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything that is known, as JSON")
    form.add_argument("--markdown", action="store_true", help="as docs/models.md")

    text = "fetch weights into $OVSS_CACHE/weights, resumed and verified; prints where they are"
    download = actions.add_parser("download", help=text, description=text)
    names = "of `ovss weights list`, or a model, such as cat_seg/vitb_384"
    download.add_argument("names", nargs="+", metavar="WEIGHTS", help=names)

    text = "read weights that are here again and compare them with what was published"
    verify = actions.add_parser("verify", help=text, description=text)
    verify.add_argument("names", nargs="*", metavar="WEIGHTS", help=f"{names}; default: all that are here")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 where a file could not be fetched, is wrong or is not here.

    Raises:
        ValueError: an unknown name.
    """
    from ovss.weights import actions

    if args.action == "download":
        return actions.download(args.names)
    if args.action == "verify":
        return actions.verify(args.names)
    if args.markdown:
        from ovss.weights.page import page

        print(page())
    else:
        print(actions.as_json() if args.json else actions.as_text())
    return 0
