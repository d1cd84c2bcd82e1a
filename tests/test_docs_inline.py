"""Commands in the text of README and docs, between single backticks: what they name is there, with their options."""

import argparse
import re

import pytest
from docs_blocks import ROOT, inline_commands, pages

from ovss.cli import build_parser
from ovss.commands.training import PROGRAMS
from ovss.d2.api import default_argument_parser

OTHERS = {"torchrun": {"--nproc-per-node"}, "tensorboard": {"--logdir"}, "mkdocs": {"--strict"}, "pip": set()}


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_in_the_text(page):
    for command in inline_commands(page.read_text(encoding="utf-8")):
        program, *words = command.split()
        asked = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)} - {"--help"}
        assert asked <= known_options(program, words), command


def known_options(program, words):
    """The options of what a command runs, which must be there."""
    if program == "make":
        assert re.search(rf"^{re.escape(words[0])}:", (ROOT / "Makefile").read_text(), re.M), f"no target {words[0]}"
        return set()
    if program == "ovss":
        return of_ovss(words)
    if program == "pytest":
        assert all(list(ROOT.glob(word)) for word in words if word.startswith("tests/")), words
        return set()
    if program == "python" and words[0].endswith(".py"):
        return of_script(words[0])
    return OTHERS.get(program, set())


def of_ovss(words):
    """Those of the command and of its action, as far as the words say which: NAME or ACTION may stand for any."""
    if words[0] in PROGRAMS:
        return of_training()
    parser, found = build_parser(), set()
    for word in words:
        actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not actions or word.startswith("-") or word.isupper():
            break
        assert word in actions[0].choices, f"ovss {' '.join(words)}: {word!r} is no command"
        parser = actions[0].choices[word]
    for action in parser._actions:
        found |= set(action.option_strings)
    return found


def of_training():
    return {option for action in default_argument_parser()._actions for option in action.option_strings} | {"--keep"}


def of_script(name):
    """The words in quotes of a script, and of the modules beside it whose options it shares."""
    files = list(ROOT.glob(name.replace("NAME", "*")))
    assert files, f"{name} is not there"
    if name == "train_net.py":
        return of_training()
    shared = [
        ROOT / "ovss/commands/arguments.py",
        ROOT / "ovss/commands/segment.py",
        *(ROOT / "benchmarks").glob("*.py"),
    ]
    sources = [path.read_text(encoding="utf-8") for path in (*files, *(shared if "/" in name else []))]
    return set(re.findall(r'"(--[a-z-]+)"', "\n".join(sources)))


@pytest.mark.parametrize(
    ("command", "is_there"),
    [
        ("ovss segment --resume", True),
        ("ovss segment --resumes", False),
        ("ovss weights list --markdown", True),
        ("ovss datasets prepare NAME --dry-run", True),
        ("ovss eval --keep 3", True),
        ("python train_net.py --eval-only", True),
        ("python train_net.py --nothing", False),
        ("python benchmarks/loader.py --nothing", False),
    ],
)
def test_how_options_are_found(command, is_there):
    program, *words = command.split()
    asked = {word for word in words if word.startswith("--")}
    assert (asked <= known_options(program, words)) is is_there


@pytest.mark.parametrize(("program", "words"), [("ovss", ["paint"]), ("make", ["nothing"]), ("python", ["no.py"])])
def test_what_is_not_there_fails(program, words):
    with pytest.raises(AssertionError):
        known_options(program, words)
