"""Training as users run it: real processes, one and two, a resume and an interruption; on drawn scenes."""

import json
import os
import shutil
import signal
import time
from functools import partial

import pytest
import torch
from small_training import start_training, write_squares

pytestmark = pytest.mark.slow

SCENES = {
    "DATASETS.TRAIN": ("scenes_train_seen",),
    "MODEL.CAT_SEG.CLASS_TOKENS": 48,
    "SOLVER.CHECKPOINT_PERIOD": 2,
}


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares") / "data")


def start(folder, *arguments, settings):
    # A shell's background jobs ignore Ctrl-C.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return start_training(folder, *arguments, settings=settings, preexec_fn=heed)


def train(folder, *arguments, settings):
    """Run train_net.py to its end; the model's state, the last line of metrics.json, and what was printed."""
    process = start(folder, *arguments, settings=settings)
    printed = "".join(process.communicate(timeout=300))
    assert process.returncode == 0, printed[-3000:]
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    (numbers,) = [line for line in lines if "total_loss" in line]
    return torch.load(folder / "model_final.pth", weights_only=True)["model"], numbers, printed


@pytest.fixture(scope="module")
def single(squares, tmp_path_factory):
    """One process trains on scenes, and is evaluated on the squares."""
    folder = tmp_path_factory.mktemp("single")
    return folder, *train(folder, settings={**SCENES, **squares})


def test_files_are_where_they_should_be(single):
    folder, _, numbers, printed = single
    assert {"config.yaml", "log.txt", "last_checkpoint", "model_0000001.pth"} <= set(os.listdir(folder))
    assert list(folder.glob("events.out.tfevents.*"))
    assert json.loads((folder / "inference/folder.json").read_text())["dataset"] == "folder"
    assert "| folder |" in printed
    assert printed.count("engine: ") == 1
    assert numbers["iteration"] == 3


def test_two_processes_train_as_one(single, tmp_path):
    """The same crops, halved. Adam's first steps go by the sign of a gradient, which rounding may turn."""
    _, expected, numbers, _ = single
    found, theirs, printed = train(tmp_path, "--num-gpus", "2", settings={**SCENES, "DATASETS.TEST": ()})
    assert "of 2" in printed or "world size" in printed.lower()
    assert found.keys() == expected.keys()
    for name in ("total_loss", "gradient_norm", "lr"):
        assert theirs[name] == pytest.approx(numbers[name], rel=1e-4)
    apart = torch.cat([(value - found[key]).flatten().abs() for key, value in expected.items()])
    assert apart.mean() < 1e-6


def test_a_resumed_run_ends_as_an_unbroken_one(single, squares, tmp_path):
    folder, expected, _, _ = single
    shutil.copy(folder / "model_0000001.pth", tmp_path)
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    found, _, _ = train(tmp_path, "--resume", settings={**SCENES, **squares})
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert not (tmp_path / "model_0000000.pth").exists()
    scores = [json.loads((where / "inference/folder.json").read_text())["scores"] for where in (folder, tmp_path)]
    assert scores[0] == scores[1]


def test_the_last_checkpoint_is_evaluated(single, squares, tmp_path):
    """On a copy, whose scores of training's end are gone."""
    folder, *_ = single
    for name in ("model_final.pth", "last_checkpoint"):
        shutil.copy(folder / name, tmp_path)
    settings = {**SCENES, **squares}
    printed = "".join(start(tmp_path, "--eval-only", "--resume", settings=settings).communicate(timeout=120))
    assert "| folder |" in printed
    scores = [json.loads((where / "inference/folder.json").read_text())["scores"] for where in (folder, tmp_path)]
    assert scores[0] == scores[1]


def test_ctrl_c_ends_with_one_line_and_keeps_what_was_checkpointed(squares, tmp_path):
    settings = {**squares, "DATASETS.TEST": (), "SOLVER.MAX_ITER": 100000, "SOLVER.CHECKPOINT_PERIOD": 3}
    process = start(tmp_path, settings=settings)
    waited = time.monotonic()
    while not (tmp_path / "last_checkpoint").exists() and time.monotonic() < waited + 120:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "train_net.py: interrupted"
    assert "Traceback" not in errors
    last = tmp_path / (tmp_path / "last_checkpoint").read_text()
    assert torch.load(last, weights_only=True)["trainer"]["iteration"] % 3 == 2
    assert not list(tmp_path.glob("*.tmp"))
