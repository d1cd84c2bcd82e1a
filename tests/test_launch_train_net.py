"""train_net.py in two processes of which one ends before its time."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image
from programs import Program, wait_until
from small_training import CONFIG, SMALL, as_opts, write_squares


@pytest.fixture(autouse=True)
def without_warnings(monkeypatch):
    """Importing Detectron2 prints some."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


def start(folder, *options, settings):
    opts = as_opts(SMALL, settings, {"OUTPUT_DIR": str(folder / "out")})
    return Program(["train_net.py", "--config-file", CONFIG, "--num-gpus", "2", *options, *opts])


def test_sigkill_of_a_training_process_ends_the_run(tmp_path):
    """Its loading process and all others are gone, what was saved is there."""
    settings = {**write_squares(tmp_path / "data"), "DATASETS.TEST": (), "DATALOADER.NUM_WORKERS": 1}
    program = start(tmp_path, settings={**settings, "SOLVER.MAX_ITER": 10**6, "SOLVER.CHECKPOINT_PERIOD": 3})
    wait_until(lambda: (tmp_path / "out/last_checkpoint").exists(), 120)
    spawned = [pid for pid, line in program.left().items() if "spawn_main" in line and os.getpgid(pid) == pid]
    assert len(spawned) == 2
    os.kill(max(spawned), signal.SIGKILL)
    code, lines = program.end()
    assert code == 128 + signal.SIGKILL
    assert lines[-1].startswith("process ")
    assert f"failed: pid {max(spawned)} was killed by SIGKILL" in lines[-1]
    assert (tmp_path / "out" / (tmp_path / "out/last_checkpoint").read_text()).exists()


def test_an_evaluation_keeps_what_was_counted_where_another_process_fails(tmp_path):
    """Process 0 has pictures 0 to 2, process 1 the others; 4 has labels of another size."""
    settings = write_squares(tmp_path / "data")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "data/labels/4.png")
    code, lines = start(tmp_path, "--eval-only", settings=settings).end()
    assert code == 2
    assert lines[-1].startswith("train_net.py: error: process 1: ")
    assert "4.png" in lines[-1]
    kept = tmp_path / "out/inference/unfinished/folder"
    for rank, pictures in ((0, {"0", "1", "2"}), (1, {"3"})):
        rows = (kept / f"process_{rank}/folder_pictures.csv").read_text().splitlines()[1:]
        assert {row.split(".png")[0].rsplit("/", 1)[-1] for row in rows} <= pictures
        assert rows
        counted = json.loads((kept / f"process_{rank}/folder.json").read_text())["confusion"]
        assert 0 < np.sum(counted) <= len(pictures) * 60 * 76
