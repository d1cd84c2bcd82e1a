"""Runs of preparation that meet a full disk, a signal, several processes: nothing half-written, nothing lost."""

import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ovss.datasets.plan import Item, Plan
from ovss.datasets.prepare import Outcome, prepare
from ovss.datasets.prepared_files import encode

ROOT = Path(__file__).parent.parent


def noise(seed: int) -> list[np.ndarray]:
    """Some 40 kB as a PNG."""
    return [np.random.default_rng(seed).integers(0, 256, (200, 200), np.uint8)]


def noise_plan(folder: Path, count: int) -> Plan:
    return Plan([Item((folder / f"{n:03d}.png",), partial(noise, n)) for n in range(count)], count)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk(tmp_path, workers):
    """A limit on the size of files fails a write midway, as a full disk does; the run ends there and can go on."""
    plan = noise_plan(tmp_path, 3)
    prepare(Plan(plan.items[:1], 1), workers=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"001.png: cannot be written \(File too large\); .* run again to go on"):
            prepare(plan, workers=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["000.png"], "and no half of another"
    assert prepare(plan, workers=1) == Outcome(written=2, kept=1)


def test_any_number_of_workers_writes_the_same(tmp_path):
    for workers in (1, 2):
        assert prepare(noise_plan(tmp_path / str(workers), 6), workers) == Outcome(written=6)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


PROGRAM = """
import sys
from pathlib import Path
from ovss.datasets.prepare import prepare
from test_prepare_runs import noise_plan

if __name__ == "__main__":
    prepare(noise_plan(Path(sys.argv[1]), 120), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize(("sent", "workers"), [(signal.SIGKILL, 1), (signal.SIGKILL, 2), (signal.SIGINT, 2)])
def test_a_run_that_is_stopped_and_one_that_goes_on(tmp_path, sent, workers):
    """A real process, stopped with all its own: what it left is whole, and the next run ends as an unbroken one."""
    (tmp_path / "program.py").write_text(PROGRAM)
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(out), str(workers)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while program.poll() is None and (not out.is_dir() or len(os.listdir(out)) < 20):
        time.sleep(0.002)
    for _ in range(3):  # an impatient user; the first kill is the last
        if program.poll() is None:
            os.killpg(program.pid, sent)
            time.sleep(0.02)
    assert program.wait(60) != 0
    done = {name: content for name, content in contents(out).items() if not name.startswith(".")}
    unbroken = {f"{n:03d}.png": encode(noise(n)[0], ".png") for n in range(120)}
    assert 10 < len(done) < 110, "stopped midway, not when only those under way were left"
    assert done == {name: unbroken[name] for name in done}, "every file is whole"
    if sent == signal.SIGINT:
        assert set(done) == set(os.listdir(out)), "an interrupt lets files be finished"
    assert prepare(noise_plan(out, 120), workers=1) == Outcome(written=120 - len(done), kept=len(done))
    assert contents(out) == unbroken
