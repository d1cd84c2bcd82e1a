"""The command `ovss completion`: what makes a shell complete `ovss`. Standard library, shtab when it runs."""

import argparse

HELP = 'print a shell\'s completion script: eval "$(ovss completion bash)"'
SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=SHELLS, help="the script is for this shell's start-up file")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from ovss.cli import build_parser

    print(shtab.complete(build_parser(), args.shell))
    return 0
