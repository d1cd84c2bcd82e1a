"""Every command and snippet of README and docs, run in order in a folder that holds the repository's files.

What stands in for data, weights, GPUs and networks, and what is not run at all, are the tables of docs_tables.py.
"""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import yaml
from docs_blocks import ROOT, all_blocks, blocks_of, commands_of, inline_commands, pages
from docs_run import check_unrun, is_slow, reason_not_to_run, stood_in
from docs_tables import NOT_RUN, SLOW, STAND_INS
from docs_world import FULL_SIZE, World, place_weights

BLOCKS = all_blocks()
LANGUAGES = ("bash", "python", "json", "yaml", "")


def parameters():
    return [
        pytest.param(block, id=block.name, marks=[pytest.mark.slow] if is_slow(shown(block)) else [])
        for block in BLOCKS
        if block.language in ("bash", "python")
    ]


def shown(block):
    """What runs, as far as the tables are asked about it: commands line by line, or a snippet without comments."""
    text = "\n".join(commands_of(block.text)) if block.language == "bash" else re.sub(r"#.*", "", block.text)
    return "\n".join(stood_in(line, Path("weights")) for line in text.splitlines())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """$HOME and $OVSS_CACHE of all commands of the file."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVSS_CACHE", str(folder / "ovss"))
        yield folder


@pytest.fixture(scope="module")
def worlds(tmp_path_factory, cache):
    """The folder of each page, made when its first block runs, with the files that the page shows."""
    made = {}

    def world_of(page):
        if page not in made:
            made[page] = World(tmp_path_factory.mktemp("docs") / "repository", cache)
            for block in filter(lambda each: each.page == page and each.title, BLOCKS):
                (made[page].folder / block.title).write_text(block.text)
        return made[page]

    yield world_of
    for world in made.values():
        world.close()


@pytest.mark.parametrize("block", parameters())
def test_block(block, worlds, cache, monkeypatch):
    monkeypatch.setenv("OVSS_CACHE", str(cache / "ovss"))
    world = worlds(block.page)
    if re.search(FULL_SIZE, shown(block)):
        place_weights()
    weights = cache / "ovss/weights"
    if block.language == "python":
        assert world.python(stood_in(block.text, weights)) == ""
        return
    for command in commands_of(block.text):
        if reason_not_to_run(command):
            check_unrun(command)
            continue
        runs = stood_in(command, weights)
        code, output = world.bash(runs)
        assert code == 0, f"{block.name}: {command}\nran as: {runs}\nexit code {code}\n{output[-4000:]}"


@pytest.mark.slow
def test_own_data_has_learned(worlds):
    """The page's own commands, which test_block has run, end with a model that is better than what it began with."""
    folder = worlds("docs/own_data.md").folder / "output/my"
    before, after = (json.loads((folder / run / "inference/folder.json").read_text()) for run in ("before", "after"))
    assert after["scores"]["mIoU_gt"] > before["scores"]["mIoU_gt"] + 2
    assert len(list((worlds("docs/own_data.md").folder / "out/my").glob("*_overlay.jpg"))) == 12


@pytest.mark.parametrize("block", [pytest.param(block, id=block.name) for block in BLOCKS])
def test_what_is_not_run_is_data(block):
    """Every block says what it is in, JSON and YAML can be read, and a block without a language holds no command."""
    assert block.language in LANGUAGES
    read = {
        "json": json.loads,
        "yaml": yaml.safe_load,
        "bash": commands_of,
        "python": partial(compile, filename="", mode="exec"),
    }
    if block.language:
        read[block.language](block.text)
    else:
        assert not re.match(r"\$? *(ovss|python|pip|make|torchrun|bash|git|import|from) ", block.text)


@pytest.mark.parametrize("table", [STAND_INS, NOT_RUN, SLOW], ids=["STAND_INS", "NOT_RUN", "SLOW"])
def test_every_row_of_the_tables_is_used(table):
    texts = [
        text for block in BLOCKS for text in (commands_of(block.text) if block.language == "bash" else [block.text])
    ]
    if table is STAND_INS:  # rows see what those before them have made
        for row in table:
            assert any(re.search(row.pattern, text) for text in texts), row
            texts += [re.sub(row.pattern, row.replacement, text) for text in texts]
    else:
        for row in table:
            pattern = row if table is SLOW else row.pattern
            assert any(re.search(pattern, text, re.M) for text in texts), row


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_in_the_text(page):
    """`make bench`, `ovss datasets check NAME`: the program's file, target or command is there, and its options are."""
    for command in inline_commands(page.read_text(encoding="utf-8")):
        program, *words = command.split()
        options = [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]
        source = text_of(program, words[0])
        missing = [option for option in options if f'"{option}"' not in source and option != "--help"]
        assert not missing, command


def text_of(program, first):
    """Where the options of a command in the text are written down; what it names must be there."""
    if program == "make":
        target = re.search(rf"^{re.escape(first)}:.*", (ROOT / "Makefile").read_text(), re.M)
        assert target, f"make {first}: no such target"
        return target[0]
    if program == "ovss":
        common = (ROOT / "ovss/commands/arguments.py").read_text()
        from ovss.cli import COMMANDS
        from ovss.commands.training import PROGRAMS

        assert first in {*COMMANDS, *PROGRAMS, "COMMAND"} or first.startswith("-"), f"ovss {first}: no such command"
        files = [ROOT / f"ovss/commands/{first}.py", ROOT / "ovss/cli.py"]
        return common + TRAINING + "".join(path.read_text() for path in files if path.is_file())
    if program == "python" and first.endswith(".py"):
        files = list(ROOT.glob(first.replace("NAME", "*")))
        assert files, f"{first} is not there"
        return files[0].read_text() + TRAINING + (ROOT / "ovss/commands/arguments.py").read_text() + MEASURE
    return " ".join(f'"{word}"' for word in ("--logdir", "--strict", "--nproc-per-node"))


TRAINING = (ROOT / "ovss/d2/lite/engine.py").read_text() + (ROOT / "ovss/train_net.py").read_text()
MEASURE = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))


def test_reading_of_blocks_by_hand():
    text = """
Text.

```bash title="x"
a --b 'c # d' \\
   e   # comment
# comment

VAR=1 f "g
h" && i
```

  ```python
  if x:
      y
  ```
"""
    first, second = blocks_of("page.md", text)
    assert (first.name, first.language, first.title) == ("page.md:4", "bash", "x")
    assert commands_of(first.text) == ["a --b 'c # d'    e", 'VAR=1 f "g\nh" && i']
    assert second.text == "if x:\n    y\n"
    assert inline_commands("`ovss a\nb` and `x`\n```bash\n`make c`\n```\n`make d`") == ["ovss a b", "make d"]
    with pytest.raises(ValueError, match=r"page.md:1: this block is never closed"):
        blocks_of("page.md", "```bash\nls\n")
    with pytest.raises(ValueError, match="does not end"):
        commands_of("echo 'a\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("pip install 'ovss[nothing]'", "has the extras"),
        ("pip install requests", "neither this project nor an address"),
        ("make nothing", "No rule to make target"),
        ("python train_net.py --config-file a.yaml --nothing 1", "a.yaml, which is not there"),
        ("python train_net.py --num-gpus x", "does not take"),
        ("torchrun --nothing train_net.py", "torchrun does not take"),
        ("curl https://x.org", "nothing checks what curl is given"),
        ("pip install 'x", "bash cannot read"),
    ],
)
def test_what_is_not_run_is_checked(command, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_unrun(command)


def test_a_command_that_fails_fails_the_test(worlds):
    world = worlds("README.md")
    assert world.bash("ls nothing | cat")[0] != 0
    assert "ZeroDivisionError" in world.python("1 / 0")
    assert world.python("x = 1") == world.python("assert x == 1") == ""
