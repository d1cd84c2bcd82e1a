"""How a run in several processes ends: with all of them, the first failure last on the screen, the right exit code."""

import os
import signal
import socket
import time

import launch_jobs
import pytest
from programs import Program, wait_until

from ovss.d2.api import default_argument_parser
from ovss.d2.processes import supervisor
from ovss.d2.processes.launch import launch_main

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def without_warnings(monkeypatch):
    """Importing Detectron2 prints some."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


def run_here(job, folder, processes=2):
    """Run a job below this process."""
    args = default_argument_parser().parse_args(["--num-gpus", str(processes)])
    args.folder = str(folder)
    launch_main(job, args, "cpu")


def at_work(job, folder):
    """A program of two processes that both have begun."""
    program = Program([launch_jobs.__file__, job, str(folder), "--num-gpus", "2"])
    wait_until_at_work(folder)
    return program


def wait_until_at_work(folder):
    wait_until(lambda: all((folder / f"pid_{rank}").exists() for rank in (0, 1)))


def below_torchrun(job, folder):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return Program([*torchrun, launch_jobs.__file__, job, str(folder)])


def test_the_first_error_is_told_not_those_that_follow(tmp_path, capfd):
    with pytest.raises(SystemExit) as ended:
        run_here(launch_jobs.fail, tmp_path, 3)
    assert ended.value.code == 1
    errors = capfd.readouterr().err
    assert errors.startswith("process 2 failed: Traceback")
    assert errors.endswith("RuntimeError: rank one is unwell\n")
    assert errors.count("Traceback") == 1


def test_a_user_s_mistake_is_one_however_long_its_message_is(tmp_path, capfd):
    with pytest.raises(ValueError, match=r"^process 1: SOLVER.BASE_LR -1: must be positive and .* and small$"):
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
    program = at_work("load", tmp_path)
    assert len(program.left()) >= 5
    program.launcher.send_signal(signal.SIGINT)
    assert program.end() == (130, ["launch_jobs.py: interrupted"])


@pytest.mark.parametrize("whom", ["launcher", "process"])
def test_sigterm_to_any_process_stops_all(whom, tmp_path):
    """Also where it reaches one that waits for the others."""
    program = at_work("wait_for", tmp_path)
    os.kill(program.launcher.pid if whom == "launcher" else int((tmp_path / "pid_1").read_text()), signal.SIGTERM)
    assert program.end() == (143, [])


def test_a_killed_launcher_takes_all_with_it(tmp_path):
    program = at_work("load", tmp_path)
    program.launcher.kill()
    assert program.end()[0] == -signal.SIGKILL


def test_a_process_that_is_killed_ends_the_other_machine_s_too(tmp_path):
    """Each has one; the loopback stands for the network."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    where = f"--num-gpus 1 --num-machines 2 --dist-url tcp://127.0.0.1:{port} --machine-rank".split()
    machines = [Program([launch_jobs.__file__, "wait_for", str(tmp_path), *where, rank]) for rank in "01"]
    wait_until_at_work(tmp_path)
    start = time.monotonic()
    os.kill(int((tmp_path / "pid_1").read_text()), signal.SIGKILL)
    (code, lines), (its_code, its_lines) = (machine.end() for machine in machines)
    assert time.monotonic() - start < supervisor.GRACE_SECONDS + 30  # on a busy machine; no time-out of torch's
    assert (code, its_code) == (1, 128 + signal.SIGKILL)
    assert lines[-1].startswith("process 0 failed: another process has left (")
    assert its_lines[-1].startswith("process 1 failed: pid ")


@pytest.mark.parametrize(
    ("job", "told"),
    [("fail", "Traceback (most recent call last):"), ("mistake", "SOLVER.BASE_LR -1: must be positive")],
)
def test_torchrun_ends_with_a_process_that_fails(job, told, tmp_path):
    """The failure is told once, by its process; the code is torchrun's own."""
    code, lines = below_torchrun(job, tmp_path).end()
    assert code == 1
    (line,) = [line for line in lines if line.startswith("process 1 failed: ")]
    assert told in line
    assert all("another process has left" in line for line in lines if line.startswith("process 0 failed: "))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_torchrun_that_is_ended_leaves_no_process(number, tmp_path):
    """Each of its processes has a loading process."""
    program = below_torchrun("load", tmp_path)
    wait_until_at_work(tmp_path)
    program.launcher.send_signal(number)
    code, lines = program.end()
    assert code != 0
    assert not [line for line in lines if line.startswith("process ")]
