"""The command `ovss info`: what is installed, where it runs, where things are kept. Standard library until it runs."""

import argparse

HELP = "say which versions, devices, engine and caches there are, or which models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What of it, and how."""
    parser.add_argument("--models", action="store_true", help="the names that --model takes, one a line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    import json

    from ovss.model_names import list_models

    if args.models:
        print(json.dumps(list_models()) if args.json else "\n".join(list_models()))
        return 0
    from ovss.environment import environment

    told = environment()
    if args.json:
        print(json.dumps(told, indent=2))
        return 0
    width = max(map(len, told))
    for name, value in told.items():
        lines = value if isinstance(value, list) else [value]
        for index, line in enumerate(lines or ["none"]):
            print(f"{'' if index else name:<{width}}  {line}")
    return 0
