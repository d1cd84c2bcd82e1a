"""Programs that tests start and end, and what is left of them. Linux alone: it reads /proc."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Program:
    """A Python program, all that it starts, and what it prints."""

    def __init__(self, words):
        self.mark = f"OVSS_TEST_RUN={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.launcher = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, name: value, "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
        )

    def end(self):
        """Exit code and lines of an ended launcher, of which nothing is left."""
        _, errors = self.launcher.communicate(timeout=60)
        wait_until(lambda: not self.left())
        return self.launcher.returncode, errors.splitlines()

    def left(self):
        """The run's processes, {pid: command line}, found by their environment; zombies have none."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_bytes().decode()
            except OSError:  # another user's, or gone
                continue
        return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
