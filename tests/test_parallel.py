"""Work on several processes: in order, a few inputs at a time, and no process outlives the one that began it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ovss.datasets.parallel import cores, map_in_order


def slow_if_even(number: int) -> int:
    time.sleep(0.02 * (number % 2 == 0))
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_are_in_the_order_of_the_inputs(workers):
    assert list(map_in_order(slow_if_even, range(30), workers)) == [number * number for number in range(30)]
    assert list(map_in_order(slow_if_even, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_inputs_are_taken_as_answers_are(workers):
    """So that a set of any size needs no more memory."""
    taken = []
    answers = map_in_order(slow_if_even, (taken.append(number) or number for number in range(1000)), workers)
    next(answers)
    answers.close()
    assert len(taken) <= 4 * workers


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_the_callers(workers):
    answers = map_in_order(fail_at_three, range(9), workers)
    assert [next(answers), next(answers), next(answers)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(answers)


def test_a_killed_worker_is_named():
    with pytest.raises(ChildProcessError, match="one of 2 worker processes was killed"):
        list(map_in_order(die, range(3), 2))


def test_cores():
    assert 1 <= cores() <= (os.cpu_count() or 1)


PROGRAM = """
import os, time
from ovss.datasets.parallel import map_in_order

def work(number):
    time.sleep(0.01)
    return os.getpid()

if __name__ == "__main__":
    for pid in map_in_order(work, range(10**6), 2):
        print(pid, flush=True)
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], stdout=subprocess.PIPE, text=True, env=environment
    )
    pids = {int(program.stdout.readline()) for _ in range(40)}
    program.kill()
    program.wait()
    program.stdout.close()
    assert program.pid not in pids
    for _ in range(200):
        if not any(map(alive, pids)):
            return
        time.sleep(0.05)
    pytest.fail(f"workers {pids} outlive their parent by 10 s")


def alive(pid: int) -> bool:
    """A process that runs; a zombie that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
