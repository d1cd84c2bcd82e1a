"""Every command and snippet of README and docs, run in order in a folder that holds the repository's files.

What stands in for data, weights, GPUs and networks, and what is not run at all, are the tables of docs_tables.py.
"""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import yaml
from docs_blocks import all_blocks, commands_of
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


def test_every_row_of_the_tables_is_used():
    runnable = [block for block in BLOCKS if block.language in ("bash", "python")]
    texts = [
        each for block in runnable for each in (commands_of(block.text) if block.language == "bash" else [block.text])
    ]
    used = {row for text in texts for row in NOT_RUN if re.search(row.pattern, text)}
    for text in texts:
        for row in STAND_INS:  # each sees what those before it have made
            if re.search(row.pattern, text):
                used.add(row)
                text = re.sub(row.pattern, row.replacement, text)
    assert [row for row in (*STAND_INS, *NOT_RUN) if row not in used] == []
    assert [pattern for pattern in SLOW if not any(re.search(pattern, shown(block), re.M) for block in runnable)] == []


def test_a_command_that_fails_fails_the_test(worlds):
    world = worlds("README.md")
    assert world.bash("ls nothing | cat")[0] != 0
    assert "ZeroDivisionError" in world.python("1 / 0")
    assert world.python("x = 1") == world.python("assert x == 1") == ""
