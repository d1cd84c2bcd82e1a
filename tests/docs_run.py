"""From what a page says to what runs: stand-ins put in, and what cannot run read as far as it can be."""

import configparser
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

from docs_tables import NOT_RUN, SLOW, STAND_INS

ROOT = Path(__file__).parent.parent
VENV = Path(sys.executable).parent.parent
_new = itertools.count()


def reason_not_to_run(command: str) -> str:
    """Why a command is not run; "" for one that is."""
    return next((row.why for row in NOT_RUN if re.search(row.pattern, command)), "")


def is_slow(text: str) -> bool:
    return any(re.search(pattern, text, re.M) for pattern in SLOW)


def stood_in(text: str, weights: Path) -> str:
    """A command or snippet with its stand-ins."""
    for row in STAND_INS:
        places = {"tests": ROOT / "tests", "venv": VENV, "weights": weights, "new": f"run_{next(_new)}"}
        replacement = row.replacement
        for name, value in places.items():
            replacement = replacement.replace(f"{{{name}}}", str(value))
        text = re.sub(row.pattern, replacement, text)
    return text


def check_unrun(command: str) -> None:
    """What can be known of a command that is not run: the shell can read it, what it names is there, its options exist.

    Raises:
        ValueError: what is wrong.
    """
    read = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
    if read.returncode:
        raise ValueError(f"bash cannot read {command!r}: {read.stderr}")
    words = shlex.split(command)
    for word in words:
        if re.fullmatch(r"[\w./-]+\.(py|yaml|sbatch|ipynb)", word) and not (ROOT / word).is_file():
            raise ValueError(f"{command!r} names {word}, which is not there")
    programs = {"pip": _check_pip, "make": _check_make, "python": _check_python, "torchrun": _check_torchrun}
    name = next(word for word in words if "=" not in word)
    arguments = words[words.index(name) + 1 :]
    if name == "sbatch":
        _check_script(arguments)
    elif name in programs:
        programs[name](arguments)
    else:
        raise ValueError(f"{command!r}: nothing checks what {name} is given")


def _check_pip(words: list[str]) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = set(setup["options.extras_require"])
    for word in words[1:]:
        found = re.fullmatch(r"(ovss|\.)(?:\[([\w,]+)\])?", word)
        if found and found[2] and not set(found[2].split(",")) <= extras:
            raise ValueError(f"{word}: setup.cfg has the extras {', '.join(sorted(extras))}")
        if not found and not word.startswith(("-", "git+https://")):
            raise ValueError(f"pip install {word}: neither this project nor an address")


def _check_make(words: list[str]) -> None:
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"make {shlex.join(words)}: {done.stderr}")


def _check_python(words: list[str]) -> None:
    if words[0] != "train_net.py":
        raise ValueError(f"python {words[0]}: nothing checks its options")
    from ovss.train_net import parse

    try:
        parse(words[1:], "train_net.py")
    except SystemExit as error:
        raise ValueError(f"train_net.py does not take {shlex.join(words[1:])}") from error


def _check_torchrun(words: list[str]) -> None:
    from torch.distributed.run import parse_args

    try:
        found = parse_args(words)
    except SystemExit as error:
        raise ValueError(f"torchrun does not take {shlex.join(words)}") from error
    _check_python([found.training_script, *found.training_script_args])


def _check_script(words: list[str]) -> None:
    script = next(word for word in words if word.endswith(".sbatch"))
    done = subprocess.run(["bash", "-n", script], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{script}: {done.stderr}")
    _check_python(["train_net.py", *words[words.index(script) + 1 :]])
