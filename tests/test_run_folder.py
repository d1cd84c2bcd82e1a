"""OUTPUT_DIR of a training run: one run at a time, nothing saved is overwritten, half-written files go."""

import errno
import logging
import os
import signal
import subprocess
import sys

import pytest

from ovss.d2.training.run_folder import training_in

HOLD = """
import sys
from ovss.d2.training.run_folder import training_in
with training_in(sys.argv[1], resume=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_one_run_at_a_time_also_after_one_was_killed(holder, tmp_path):
    message = rf"OUTPUT_DIR {tmp_path}: another run trains there \(process {holder.pid} on .*\): end it first"
    with pytest.raises(ValueError, match=message), training_in(tmp_path, resume=True):
        pytest.fail("held twice")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with training_in(tmp_path, resume=True):
        pass


def test_a_file_system_without_locks(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", refuse)
    with training_in(tmp_path, resume=False):
        assert "cannot be locked (No locks available): see to it that no other run trains there" in caplog.text


@pytest.mark.parametrize("name", ["model_0000009.pth", "model_final.pth"])
def test_a_new_run_does_not_overwrite_another(name, tmp_path):
    (tmp_path / name).write_bytes(b"weeks of work")
    with pytest.raises(ValueError, match=rf"holds the checkpoints of a run, such as {name}, .* --resume, or take an"):
        training_in(tmp_path, resume=False).__enter__()
    with training_in(tmp_path, resume=True):
        assert (tmp_path / name).read_bytes() == b"weeks of work"


def test_what_is_no_checkpoint_stays_and_half_written_files_go(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("model_card.pth", "config.yaml", ".model_0000003.pth.0123abcd.tmp"):
        (folder / name).touch()
    with training_in(folder, resume=False):
        assert sorted(os.listdir(folder)) == [".lock", "config.yaml", "model_card.pth"]


def test_a_full_disk_in_words(tmp_path):
    (tmp_path / "model_0000003.pth").touch()
    for filename, where in ((None, tmp_path), ("a/metrics.json", "a/metrics.json")):
        message = rf"{where}: No space left on device. What was saved before is whole \(model_0000003.pth\): make room"
        with pytest.raises(ValueError, match=message), training_in(tmp_path, resume=True):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), filename)
    with pytest.raises(PermissionError), training_in(tmp_path, resume=True):
        raise PermissionError(errno.EACCES, "no")
    with training_in(tmp_path, resume=True):
        assert not logging.raiseExceptions  # the log file is on that disk, too
    assert logging.raiseExceptions
