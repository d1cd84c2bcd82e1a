"""How a run in several processes ends: with all of them, the first failure last on the screen, the right exit code."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import launch_jobs
import pytest

from ovss.d2 import supervisor
from ovss.d2.api import default_argument_parser
from ovss.d2.launch import launch_main


@pytest.fixture(autouse=True)
def without_warnings(monkeypatch):
    """Importing Detectron2 prints some."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


def run_here(job, folder, processes=2):
    """Run a job below this process."""
    args = default_argument_parser().parse_args(["--num-gpus", str(processes)])
    args.folder = str(folder)
    launch_main(job, args, "cpu")


class Program:
    """A program of two processes, all that it starts, and what it prints."""

    def __init__(self, job, folder):
        self.mark, self.folder = f"OVSS_TEST_RUN={uuid.uuid4()}", folder
        name, value = self.mark.split("=")
        self.launcher = subprocess.Popen(
            [sys.executable, launch_jobs.__file__, job, str(folder), "--num-gpus", "2"],
            env={**os.environ, name: value},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
        )
        wait_until(lambda: all((folder / f"pid_{rank}").exists() for rank in (0, 1)))

    def end(self):
        """Exit code and lines of an ended launcher, of which nothing is left."""
        _, errors = self.launcher.communicate(timeout=60)
        wait_until(lambda: not self.left())
        return self.launcher.returncode, errors.splitlines()

    def left(self):
        """Command lines of the run's processes, found by their environment; zombies have none."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes())
            except OSError:  # another user's, or gone
                continue
        return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_the_first_error_is_told_not_those_that_follow(tmp_path, capfd):
    with pytest.raises(SystemExit) as ended:
        run_here(launch_jobs.fail, tmp_path, 3)
    assert ended.value.code == 1
    errors = capfd.readouterr().err
    assert errors.startswith("process 2 failed: Traceback")
    assert errors.endswith("RuntimeError: rank one is unwell\n")
    assert errors.count("Traceback") == 1


def test_a_user_s_mistake_is_one(tmp_path, capfd):
    with pytest.raises(ValueError, match=r"^process 1: SOLVER.BASE_LR -1: must be positive$"):
        run_here(launch_jobs.mistake, tmp_path)
    assert capfd.readouterr().err == ""


def test_a_killed_process_is_named_with_its_signal(tmp_path, capfd):
    start = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        run_here(launch_jobs.die, tmp_path)
    assert ended.value.code == 128 + signal.SIGKILL
    assert capfd.readouterr().err.startswith("process 1 failed: pid ")
    assert time.monotonic() - start < supervisor.GRACE_SECONDS + 30  # on a busy machine; no time-out of torch's


def test_a_process_that_does_not_listen_is_killed(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 1.0)
    with pytest.raises(SystemExit) as ended:
        run_here(launch_jobs.deaf, tmp_path)
    assert ended.value.code == 1
    errors = capfd.readouterr().err
    assert errors.startswith("process 0 did not stop and was killed\nprocess 1 failed: Traceback")


def test_ctrl_c_ends_all_with_one_line(tmp_path):
    """Each process has a loading process."""
    program = Program("load", tmp_path)
    assert len(program.left()) >= 5
    program.launcher.send_signal(signal.SIGINT)
    assert program.end() == (130, ["launch_jobs.py: interrupted"])


@pytest.mark.parametrize("whom", ["launcher", "process"])
def test_sigterm_to_any_process_stops_all(whom, tmp_path):
    """Also where it reaches one that waits for the others."""
    program = Program("wait_for", tmp_path)
    os.kill(program.launcher.pid if whom == "launcher" else int((tmp_path / "pid_1").read_text()), signal.SIGTERM)
    assert program.end() == (143, [])


def test_a_killed_launcher_takes_all_with_it(tmp_path):
    program = Program("load", tmp_path)
    program.launcher.kill()
    assert program.end()[0] == -signal.SIGKILL
