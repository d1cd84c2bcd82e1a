"""The files of a run's checkpoints: which stay, and that a full disk costs none. On a model of two numbers."""

import errno
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ovss.d2.training.checkpoints import Checkpoints
from ovss.d2.training.resume import newest_checkpoint


def run(folder, steps, start=0, **settings):
    """The hook after the steps of a run that has nothing but a model."""
    hook = Checkpoints(folder, 2, **settings)
    trainer = SimpleNamespace(model=nn.Linear(1, 1), state_dict=lambda: {"iteration": trainer.iter}, max_iter=steps)
    hook.trainer = trainer
    for trainer.iter in range(start, steps):
        hook.after_step()
    return hook


def names(folder):
    return sorted(os.listdir(folder))


def test_every_second_step_and_the_last(tmp_path):
    hook = run(tmp_path / "new", 5)
    assert names(tmp_path / "new") == ["last_checkpoint", "model_0000001.pth", "model_0000003.pth", "model_final.pth"]
    path, content = newest_checkpoint(tmp_path / "new")
    assert (path.name, content["iteration"], content["trainer"]) == ("model_final.pth", 4, {"iteration": 4})
    assert all(torch.equal(value, content["model"][key]) for key, value in hook.trainer.model.state_dict().items())


def test_keep_counts_those_that_lie_there_and_never_the_final_one(tmp_path):
    run(tmp_path, 8)
    run(tmp_path, 9, start=8, keep=2)  # none is written but the last
    assert len(names(tmp_path)) == 6
    run(tmp_path, 11, start=8, keep=2)
    assert names(tmp_path) == ["last_checkpoint", "model_0000007.pth", "model_0000009.pth", "model_final.pth"]
    run(tmp_path, 10, start=8, keep=1)
    assert names(tmp_path) == ["last_checkpoint", "model_0000009.pth", "model_final.pth"]


def test_after_going_back_by_hand_later_ones_are_not_touched(tmp_path):
    run(tmp_path, 8)
    hook = run(tmp_path, 100, start=99, keep=1)
    assert {*names(tmp_path)} >= {"model_0000099.pth"}
    hook.trainer.iter = 3
    hook.save()
    assert names(tmp_path) == ["last_checkpoint", "model_0000003.pth", "model_0000099.pth", "model_final.pth"]
    assert newest_checkpoint(tmp_path)[0].name == "model_0000003.pth"


@pytest.mark.parametrize("when", ["checkpoint", "last_checkpoint"])
def test_old_ones_stay_until_the_new_one_is_whole_and_named(when, tmp_path, monkeypatch):
    run(tmp_path, 4, keep=2)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    replace = os.replace

    def fail(source, target):
        if (os.path.basename(target) == "last_checkpoint") == (when == "last_checkpoint"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*model_0000005.pth"):
        run(tmp_path, 6, start=5, keep=2)
    after = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    assert before.items() <= after.items()
    assert after.keys() - before.keys() <= {"model_0000005.pth"}
    assert newest_checkpoint(tmp_path)[0].name == "model_final.pth"  # of the fourth step


WRITE = """
import sys
from types import SimpleNamespace
import torch
from ovss.d2.training.checkpoints import Checkpoints
hook = Checkpoints(sys.argv[1], 1)
hook.trainer = SimpleNamespace(model=torch.nn.Linear(1000, 300), state_dict=dict, max_iter=9, iter=7)
try:
    hook.after_step()
except OSError as error:
    print(type(error).__name__, error)
"""


def write_in(folder, **how):
    """A checkpoint of 1.2 MB, by a process of its own."""
    command = [sys.executable, "-c", WRITE, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, **how).stdout


def test_a_file_beyond_its_bound(tmp_path):
    run(tmp_path, 2)
    before = names(tmp_path)
    bound = 300_000
    told = write_in(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound)))
    assert told == f"OSError [Errno 27] File too large: '{tmp_path}/model_0000007.pth'\n"
    assert names(tmp_path) == before
    assert newest_checkpoint(tmp_path)[1]["iteration"] == 1


def test_a_full_disk(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        run(tmp_path, 2)
        before = names(tmp_path)
        assert write_in(tmp_path) == f"OSError [Errno 28] No space left on device: '{tmp_path}/model_0000007.pth'\n"
        assert names(tmp_path) == before
        assert newest_checkpoint(tmp_path)[1]["iteration"] == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)
