"""The quickstart's training under both engines: the same losses for the same seed, step by step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("detectron2", reason="compares lite with Detectron2, which is not installed")

ROOT = Path(__file__).parent.parent
STEPS = 50


def losses(engine, folder, options):
    """The loss of every step of the quickstart's first."""
    opts = {"OUTPUT_DIR": folder, "SOLVER.MAX_ITER": STEPS, "LOG_PERIOD": 1, "DATASETS.TEST": (), "VIS_PERIOD": 0}
    words = [str(word) for pair in {**opts, **options}.items() for word in pair]
    done = subprocess.run(
        [sys.executable, "train_net.py", "--config-file", "configs/quickstart/cat_seg.yaml", *words],
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
