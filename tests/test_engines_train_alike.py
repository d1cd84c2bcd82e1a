"""The quickstart's training under both engines: the same losses for the same seed, whole and resumed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2", reason="compares lite with Detectron2, which is not installed")

ROOT = Path(__file__).parent.parent
STEPS, PERIOD = 50, 45  # of the run; between checkpoints
WHOLE = {"SOLVER.MAX_ITER": STEPS, "SOLVER.CHECKPOINT_PERIOD": PERIOD, "LOG_PERIOD": 1}


def losses(engine, folder, options, *arguments):
    """The loss of every step of the quickstart's first."""
    opts = {"OUTPUT_DIR": folder, **WHOLE, "DATASETS.TEST": (), "VIS_PERIOD": 0}
    words = [str(word) for pair in {**opts, **options}.items() for word in pair]
    done = subprocess.run(
        [sys.executable, "train_net.py", "--config-file", "configs/quickstart/cat_seg.yaml", *arguments, *words],
        cwd=ROOT,
        env={**os.environ, "OVSS_ENGINE": engine, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line)["total_loss"] for line in (folder / "metrics.json").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_both_engines_lose_alike(precision, tmp_path):
    amp = {"SOLVER.AMP.ENABLED": precision != "float32"}
    lite, real = (losses(engine, tmp_path / engine, amp) for engine in ("lite", "detectron2"))
    assert len(lite) == STEPS
    assert real == pytest.approx(lite, abs=1e-4)
    assert sum(lite[-10:]) < 0.8 * sum(lite[:10])
    if precision == "float32":
        check_resumed(lite, "detectron2", tmp_path / "lite", tmp_path / "resumed", amp)


def check_resumed(expected, engine, unbroken, folder, options):
    """The other engine goes on from a checkpoint of an unbroken run, and ends as that one, to the last bit."""
    folder.mkdir()
    shutil.copy(unbroken / f"model_{PERIOD - 1:07d}.pth", folder)
    assert losses(engine, folder, options, "--resume") == expected[PERIOD - 1 :]  # its own step was not written yet
    ends = [torch.load(path / "model_final.pth", weights_only=True)["model"] for path in (unbroken, folder)]
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
