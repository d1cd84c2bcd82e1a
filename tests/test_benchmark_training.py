"""The benchmark of training at the smallest size: a row for each way, beside the unit."""

import subprocess
import sys

import pytest
from small_training import ROOT, SMALL, as_opts


@pytest.mark.full
def test_table_of_a_small_model():
    model = {key: value for key, value in SMALL.items() if key.startswith(("MODEL.CAT_SEG.", "MODEL.CLIP.", "INPUT."))}
    words = {"MODEL.VOCABULARY": "sand, red square, blue square"}
    command = [
        sys.executable,
        str(ROOT / "benchmarks/training.py"),
        "--device",
        "cpu",
        "--batch",
        "2",
        "--unit",
        "tiny",
    ]
    command += ["--budget", "0.001", "--threads", "1", "--classes", "3", "--runs", "1"]
    command += ["--rows", "float32", "2 micro-batches", "--opts", *as_opts(model, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows[2:]] == ["CLIP image tower, 1 view (1 u)", "float32", "2 micro-batches"]
    assert all(float(row[1]) > 0 and float(row[3]) > 0 and float(row[7]) > 0 for row in rows[2:])
    assert rows[3][4] == rows[4][4], "micro-batches take the same operations"
