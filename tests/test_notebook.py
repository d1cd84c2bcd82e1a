"""demo/global_patch.ipynb as a reader runs it: every cell works, and prints and shows what is stored in the file."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow
NOTEBOOK = Path(__file__).parent.parent / "demo/global_patch.ipynb"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(home))
        patch.setenv("OVSS_CACHE", str(home / "cache"))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder, coalesce_streams=True).execute()
    return notebook


def outputs(notebook, kind):
    """What each cell shows of a kind: text printed, or a picture's MIME type."""
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    if kind == "text":
        return [
            "".join(out.text for out in outs if out.output_type == "stream" and out.name == "stdout") for outs in cells
        ]
    return [[mime for out in outs for mime in out.get("data", {}) if mime.startswith("image/")] for outs in cells]


def test_it_prints_what_is_stored(stored, executed):
    for was, now in zip(outputs(stored, "text"), outputs(executed, "text"), strict=True):
        assert NUMBER.sub("N", was) == NUMBER.sub("N", now)
        found, expected = ([float(number) for number in NUMBER.findall(text)] for text in (now, was))
        assert found == pytest.approx(expected, rel=0.03, abs=0.011), "up to rounding on another processor"


def test_it_shows_the_pictures_that_are_stored(stored, executed):
    assert outputs(stored, "pictures") == outputs(executed, "pictures")
    assert sum(map(len, outputs(stored, "pictures"))) == 5
    assert NOTEBOOK.stat().st_size < 300_000


def test_its_numbers_tell_the_finding(executed):
    """Scene 2: the maps overlap less, more of them lies on their own thing, and the vote is right more often."""
    text = "\n".join(outputs(executed, "text"))
    before, after = map(float, re.search(r"overlap of all pairs: ([\d.]+) before, ([\d.]+) after", text).groups())
    assert before == pytest.approx(0.712, abs=0.01)
    assert after < before / 3
    attention, recalibrated = (
        float(re.search(rf"{name} +([\d.]+) on its", text)[1]) for name in ("attention", "recalibrated")
    )
    assert recalibrated == pytest.approx(0.71, abs=0.02)
    assert recalibrated > 2 * attention
    plain, alone, voted = map(int, re.search(r"CLIP: (\d+) %.*itself: (\d+) %.*vote: (\d+) %", text).groups())
    assert plain < alone < voted


def test_it_is_stored_as_it_ran(stored):
    """Cells numbered from 1, in order, and no error or warning among the outputs."""
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [
        out for cell in code for out in cell.outputs if out.output_type == "error" or out.get("name") == "stderr"
    ]
