"""The command `ovss completion`: what makes a shell complete `ovss`. Standard library, shtab when it runs."""

import argparse
from collections.abc import Iterator

from ovss.commands.training import PROGRAMS

HELP = 'print a shell\'s completion script: eval "$(ovss completion bash)"'
SHELLS = ("bash", "zsh", "tcsh")
FILES = ("FILE", "PATH", "PICTURE", "WORDS")
# Those of `ovss train` and `ovss eval`, whose own parser needs torch: too long a wait for the start of a shell.
TRAINING = {"--config-file": "MODEL", "--resume": None, "--eval-only": None, "--num-gpus": None, "--num-machines": None}
TRAINING |= {"--machine-rank": None, "--dist-url": None, "--keep": None}
# In bash a list of files ends where the next option begins, and a model is a name or a file.
BASH = """_ovss_files() {
  local word="${COMP_WORDS[COMP_CWORD]}"
  if [[ "$word" == -* ]]; then compgen -W "${current_option_strings[*]}" -- "$word"; else compgen -f -- "$1"; fi
}
_ovss_models() { compgen -W "%s" -- "$1"; compgen -f -- "$1"; }"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=SHELLS, help="the script is for this shell's start-up file")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from ovss.cli import build_parser
    from ovss.datasets.table import BY_NAME
    from ovss.model_names import list_models
    from ovss.weights.table import entries

    models = " ".join(list_models())
    places = {
        **{metavar: {**shtab.FILE, "bash": "_ovss_files"} for metavar in FILES},
        "FOLDER": shtab.DIRECTORY,
        "MODEL": {**shtab.FILE, "bash": "_ovss_models", "zsh": f"({models})"},
    }
    names = {"WEIGHTS": [*entries()], "SET": [*BY_NAME]}
    parser = build_parser()
    for action in _actions(parser):
        if action.metavar in places:
            action.complete = places[str(action.metavar)]  # type: ignore[attr-defined]
        elif action.metavar in names:
            action.choices = names[str(action.metavar)]
    print(shtab.complete(parser, args.shell, preamble={"bash": BASH % models}))  # type: ignore[arg-type]
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What a parser and its commands take."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            yield action
            continue
        for name, command in action.choices.items():
            if name in PROGRAMS:
                for option, metavar in TRAINING.items():
                    command.add_argument(option, metavar=metavar)
            yield from _actions(command)
