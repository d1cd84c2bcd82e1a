"""The benchmark of training at the smallest size: a row for each way, beside the unit."""

import subprocess
import sys

from small_training import ROOT, SMALL, as_opts


def test_table_of_a_small_model():
    model = {key: value for key, value in SMALL.items() if key.startswith(("MODEL.CAT_SEG.", "MODEL.CLIP.", "INPUT."))}
    words = {"MODEL.VOCABULARY": "sand, red square, blue square"}
    command = [sys.executable, str(ROOT / "benchmarks/training.py"), "--device", "cpu", "--batch", "2"]
    command += ["--classes", "3", "--runs", "1", "--rows", "2 micro-batches", "--opts", *as_opts(model, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows[2:]] == ["float32", "2 micro-batches"]
    assert rows[2][3] == rows[2][5] == "1.00"
    assert all(float(row[1]) > 0 and float(row[4]) > 0 for row in rows[2:])
