"""A run that is killed, at any place, and resumed ends as one that never was: model, optimizer, numbers, scores."""

import json
import multiprocessing
import os
import signal

import pytest
import torch
from small_training import CONFIG, SMALL, as_opts, write_squares

from ovss import hub
from ovss.d2 import package
from ovss.d2.training import checkpoints, endings, trainer
from ovss.d2.training.run_folder import training_in

pytestmark = pytest.mark.usefixtures("restored_loggers")
CLOCK = {"time", "data_time", "eta_seconds", "max_memory", "images_per_second"}
SETTINGS = {"SOLVER.MAX_ITER": 7, "SOLVER.CHECKPOINT_PERIOD": 2, "TEST.EVAL_PERIOD": 2, "LOG_PERIOD": 3, "SEED": -1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures, and the weights that all runs start from."""
    folder = tmp_path_factory.mktemp("squares")
    opts = write_squares(folder / "data", 3)
    cfg = hub.load(CONFIG, as_opts(SMALL, opts, {"OUTPUT_DIR": str(folder)}))
    torch.manual_seed(3)
    package.save_model(folder / "start.safetensors", trainer.Trainer(cfg).model, cfg)
    return {**opts, "MODEL.WEIGHTS": str(folder / "start.safetensors")}


def train(folder, data, *, resume, seed=None):
    settings = SETTINGS if seed is None else {**SETTINGS, "SEED": seed}
    cfg = hub.load(CONFIG, as_opts(SMALL, data, settings, {"OUTPUT_DIR": str(folder)}))
    with training_in(folder, resume=resume):
        run = trainer.Trainer(cfg, keep=2)
        run.resume_or_load(resume)
        run.train()
    return run


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    train(folder, data, resume=False, seed=11)
    return what_it_left(folder)


def what_it_left(folder):
    """The last checkpoint, numbers in the order of iterations but for times, scores, and the names of checkpoints."""
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    lines = [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".pth", ".safetensors", ".tmp"))
    scores = json.loads((folder / "inference/folder.json").read_text())["scores"]
    return torch.load(folder / "model_final.pth", weights_only=True), lines, scores, names


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def half(content, file):
    """The first kilobyte of a checkpoint."""
    file.write(bytes(1024))
    file.flush()
    die()


def at(count, function, before=die):
    """A function that ends the process at its call of this number."""
    calls = iter(range(1, 10**9))
    return lambda *given, **named: (before if next(calls) == count else function)(*given, **named)


PLACES = {
    "before the first step": (trainer.Trainer, "run_step", 1),
    "in the fourth step": (trainer.Trainer, "run_step", 4),
    "in the sixth step": (trainer.Trainer, "run_step", 6),
    "in the last step": (trainer.Trainer, "run_step", 7),
    "while a checkpoint is written": (checkpoints, "_save", 2),
    "while the last checkpoint is written": (checkpoints, "_save", 4),
    "between a checkpoint and its name": (os, "replace", 6),
    "in the third evaluation": (trainer, "evaluate", 3),
    "in the evaluation at the end": (trainer, "evaluate", 4),
    "before the packaged model": (endings, "save_model", 1),
}


def killed(folder, data, place):
    """Body of the process that dies."""
    owner, name, count = PLACES[place]
    before = half if name == "_save" else die
    setattr(owner, name, at(count, getattr(owner, name), before))
    train(folder, data, resume=False, seed=11)


@pytest.mark.parametrize("place", PLACES)
def test_killed_and_resumed(place, data, unbroken, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=killed, args=(tmp_path, data, place))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    started = (tmp_path / "last_checkpoint").exists()
    train(tmp_path, data, resume=True, seed=None if started else 11)  # what was drawn comes back
    (expected, *others), (found, *mine) = unbroken, what_it_left(tmp_path)
    assert mine == others
    assert found["trainer"].pop("run")["seed"] == expected["trainer"]["run"]["seed"] == 11
    for key, value in expected["model"].items():
        assert torch.equal(found["model"][key], value), key
    for name, state in expected["trainer"]["_trainer"]["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(found["trainer"]["_trainer"]["optimizer"]["state"][name][key], value), key
    assert found["trainer"]["hooks"]["LRScheduler"] == expected["trainer"]["hooks"]["LRScheduler"]
