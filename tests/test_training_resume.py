"""Training that is killed, has no disk left or would overwrite another's, as users meet it: real processes."""

import contextlib
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from small_training import start_training, write_squares

pytestmark = pytest.mark.slow

MIB = 2**20


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    squares = write_squares(tmp_path_factory.mktemp("squares") / "data")
    return {**squares, "DATASETS.TEST": (), "SOLVER.MAX_ITER": 8, "SOLVER.CHECKPOINT_PERIOD": 2}


def end(process):
    """Exit code, last line of stderr, and all that was printed."""
    printed, errors = process.communicate(timeout=300)
    return process.returncode, (errors.strip().splitlines() or [""])[-1], printed + errors


def session(leader):
    """Processes of a program that was started in a session of its own, each in its group, but for zombies."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, of, *_ = (process / "stat").read_text().rsplit(")", 1)[1].split()
            if int(of) == leader and state != "Z":
                found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def unbroken(settings, tmp_path_factory):
    """Two processes."""
    folder = tmp_path_factory.mktemp("unbroken")
    code, _, printed = end(start_training(folder, "--num-gpus", "2", "--keep", "1", settings=settings))
    assert code == 0, printed[-3000:]
    return folder


def test_all_processes_killed_at_once_and_resumed(settings, unbroken, tmp_path):
    process = start_training(tmp_path, "--num-gpus", "2", settings=settings, start_new_session=True)
    waited = time.monotonic()
    while not (tmp_path / "last_checkpoint").exists() and time.monotonic() < waited + 120:
        time.sleep(0.01)
    while alive := session(process.pid):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    arguments = ("--num-gpus", "2", "--resume", "--keep", "1")
    code, _, printed = end(start_training(tmp_path, *arguments, settings=settings))
    assert code == 0, printed[-3000:]
    assert "going on from" in printed
    expected, found = (torch.load(path / "model_final.pth", weights_only=True) for path in (unbroken, tmp_path))
    assert all(torch.equal(value, found["model"][key]) for key, value in expected["model"].items())
    for folder in (unbroken, tmp_path):
        assert [path.name for path in folder.glob("model_0*")] == ["model_0000007.pth"]


def test_a_new_run_in_the_folder_of_another(settings, unbroken):
    before = {path: path.stat().st_mtime_ns for path in unbroken.iterdir()}
    code, last, _ = end(start_training(unbroken, settings=settings))
    assert code == 2
    assert f"train_net.py: error: OUTPUT_DIR {unbroken} holds the checkpoints of a run, such as model_final.pth" in last
    changed = {path.name for path in unbroken.iterdir() if path.stat().st_mtime_ns != before.get(path)}
    assert changed <= {".lock"}


def test_no_disk_left(settings, unbroken, tmp_path):
    """In the middle of a checkpoint: what lies there stays as it is, and nothing else."""
    shutil.copy(unbroken / "model_0000007.pth", tmp_path)
    more = {**settings, "SOLVER.MAX_ITER": 10}
    process = start_training(
        tmp_path,
        *("--resume", "--keep", "1"),
        settings=more,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB)),
    )
    code, last, _ = end(process)
    assert code == 2
    assert last == (
        f"train_net.py: error: {tmp_path}/model_0000009.pth: File too large. What was saved before is whole "
        "(model_0000007.pth): make room, then go on with --resume"
    )
    assert (tmp_path / "model_0000007.pth").read_bytes() == (unbroken / "model_0000007.pth").read_bytes()
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith((".tmp", "9.pth", "final.pth"))]


def test_keep_is_at_least_one(settings, tmp_path):
    code, last, _ = end(start_training(tmp_path, "--keep", "0", settings=settings))
    assert (code, last) == (
        2,
        "train_net.py: error: --keep 0: at least one checkpoint must stay; without --keep all do",
    )
