"""The benchmarks of models, small: what they print and the JSON agree, and a row that fails is said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SMALL = ["--device", "cpu", "--threads", "1", "--runs", "1", "--budget", "0.001", "--unit", "tiny"]
WINDOW = ["TEST.WINDOW_CANVAS", "(160,160)", "TEST.WINDOW_SIZE", "128", "TEST.WINDOW_OVERLAP", "0.75"]
CAT_SEG = ["--config-file", "configs/quickstart/cat_seg.yaml", "--size", "80", "96", "--opts", *WINDOW]


def run(name, *options):
    command = [sys.executable, str(ROOT / f"benchmarks/{name}.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def table(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


def measured(done, path, names):
    """The rows of the JSON but the unit, which agree with what was printed."""
    found = json.loads(path.read_text())
    printed = table(done.stdout)
    assert [{key: row[key] for key in printed[0]} for row in found["rows"]] == printed
    assert [row["work"] for row in printed] == ["CLIP image tower, 1 view (1 u)", *names]
    assert printed[0]["u"] == "1.00"
    assert [rate["dtype"] for rate in found["rates"]] == ["float32"]
    rows = [row for row in found["rows"][1:] if not row["error"]]
    for row in rows:
        assert len(row["seconds"]) == len(row["units"]) == 1
        assert row["seconds"][0] > 0
        assert row["memory_peak"] >= row["memory_before"] > 0
        assert row["least_bytes"] > 0
    return rows


def test_cat_seg_beside_peers_that_are_not_there(tmp_path):
    paths = ["--json", str(tmp_path / "x.json"), "--plot", str(tmp_path / "plot.png"), "--official", str(tmp_path)]
    done = run("cat_seg", *SMALL, *CAT_SEG, "--words", "5", *paths)
    assert done.returncode == 1
    names = ["CAT-Seg, 5 words", "the authors' CAT-Seg, 5 words"]
    (row,) = measured(done, tmp_path / "x.json", names)
    assert row["flops"] > 0
    assert "there is no folder CAT-Seg in it" in table(done.stdout)[2]["median ms"]
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.full
def test_cliptrase(tmp_path):
    options = ["--versions", "d2", "--photo", "80", "120", "--words", "4", "--opts", "MODEL.CLIP.NAME", "tiny"]
    done = run("cliptrase", *SMALL, *options, "--json", str(tmp_path / "x.json"))
    assert done.returncode == 0, done.stderr
    names = ["80 x 120: CLIPtrase, Detectron2 version", "80 x 120: the same, scores of all words"]
    labels, scores = measured(done, tmp_path / "x.json", names)
    assert labels["flops"] == scores["flops"] > 0
    # Of every pixel 4 scores of 4 bytes, or a label of 8 and a score of 4.
    assert scores["least_bytes"] - labels["least_bytes"] == 80 * 120 * (16 - 12)


@pytest.mark.full
def test_text(tmp_path):
    done = run("text", *SMALL, "--words", "5", "--prompted", "1", "--json", str(tmp_path / "x.json"))
    assert done.returncode == 0, done.stderr
    names = ["5 words, 1 prompt", "1 words, 80 prompts", "5 words found on disk"]
    rows = measured(done, tmp_path / "x.json", [*names, "5 words found on disk, fingerprint included"])
    assert [row["flops"] > 0 for row in rows] == [True, True, False, False]


def test_roofline(tmp_path):
    options = ["--device", "cpu", "--threads", "1", "--dtype", "float32", "--budget", "0.001"]
    done = run("roofline", *options, "--json", str(tmp_path / "x.json"))
    assert done.returncode == 0, done.stderr
    (printed,) = table(done.stdout)
    (row,) = json.loads((tmp_path / "x.json").read_text())["rows"]
    rates = {"matrix product GFLOP/s": row["matrix"], "convolution GFLOP/s": row["convolution"]}
    rates |= {"copy GB/s": row["copy"]}
    assert printed == {"number format": "float32"} | {key: f"{rate / 1e9:.1f}" for key, rate in rates.items()}
    assert "bfloat16 instructions of the CPU: " in done.stdout
