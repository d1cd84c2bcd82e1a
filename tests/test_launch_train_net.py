"""train_net.py in two processes of which one ends before its time."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image
from programs import Program, wait_until
from small_training import CONFIG, SMALL, as_opts, write_squares

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def without_warnings(monkeypatch):
    """Importing Detectron2 prints some."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


def start(folder, *options, settings):
    opts = as_opts(SMALL, settings, {"OUTPUT_DIR": str(folder / "out")})
    return Program(["train_net.py", "--config-file", CONFIG, "--num-gpus", "2", *options, *opts])


def workers(program):
    """The pids of its processes, by rank, without those that load for them."""
    return sorted(pid for pid, line in program.left().items() if "spawn_main" in line and os.getpgid(pid) == pid)


def test_sigkill_of_a_training_process_ends_the_run(tmp_path):
    """Its loading process and all others are gone, what was saved is there."""
    settings = {**write_squares(tmp_path / "data"), "DATASETS.TEST": (), "DATALOADER.NUM_WORKERS": 1}
    program = start(tmp_path, settings={**settings, "SOLVER.MAX_ITER": 10**6, "SOLVER.CHECKPOINT_PERIOD": 3})
    wait_until(lambda: (tmp_path / "out/last_checkpoint").exists(), 120)
    _, second = workers(program)
    os.kill(second, signal.SIGKILL)
    code, lines = program.end()
    assert code == 128 + signal.SIGKILL
    assert lines[-1].startswith("process ")
    assert f"failed: pid {second} was killed by SIGKILL" in lines[-1]
    assert (tmp_path / "out" / (tmp_path / "out/last_checkpoint").read_text()).exists()


def test_an_evaluation_keeps_what_was_counted_where_another_process_fails(tmp_path):
    """Process 0 has the first 30 pictures, process 1 the others, of which the last has labels of another size.

    Process 1 stands still until process 0 has counted a picture, whichever of them the machine runs first.
    """
    settings = {**write_squares(tmp_path / "data", count=60), "TEST.SAVE_LABELS": True}
    names = sorted(path.name for path in (tmp_path / "data/labels").iterdir())
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "data/labels" / names[-1])
    program = start(tmp_path, "--eval-only", settings=settings)
    saved = tmp_path / "out/inference/folder_labels"
    wait_until(saved.exists, 120)
    _, second = workers(program)
    os.kill(second, signal.SIGSTOP)
    wait_until(lambda: (saved / names[1]).exists())  # a picture is counted after its labels are saved
    os.kill(second, signal.SIGCONT)
    code, lines = program.end()
    assert code == 2
    assert lines[-1].startswith("train_net.py: error: process 1: ")
    assert names[-1] in lines[-1]
    kept = tmp_path / "out/inference/unfinished/folder"
    for rank, pictures in ((0, names[:30]), (1, names[30:-1])):
        rows = (kept / f"process_{rank}/folder_pictures.csv").read_text().splitlines()[1:]
        assert {row.split(",")[0].rsplit("/", 1)[-1] for row in rows} <= set(pictures)
        assert rows
        counted = json.loads((kept / f"process_{rank}/folder.json").read_text())["confusion"]
        assert 0 < np.sum(counted) <= len(pictures) * 60 * 76
