"""Starts the processes of one machine, watches over them, and leaves none behind. Imports what they run.

However a run ends, it ends as a whole: one process that fails, SIGTERM or Ctrl-C stops all, first by asking, so that
what was done is kept, then by force: a process that waits for another inside a library answers to nothing else.
"""

import argparse
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait

from ovss.d2.processes.placement import Place
from ovss.d2.processes.stop import Stopped
from ovss.d2.processes.worker import STOP_SECONDS, STOPPED, Failure, Main, run_spawned

# From a failure or Ctrl-C to SIGKILL for the processes that are left, in seconds.
GRACE_SECONDS = 10.0
# Between two looks at the processes, in seconds. Most ends are seen at once; not that of a process whose loading
# processes outlive it for a moment.
TICK_SECONDS = 0.2


class ProcessFailed(Exception):
    """The failure that ended a run: of the process `rank`."""

    def __init__(self, rank: int, failure: Failure):
        super().__init__(f"process {rank}: {failure.text}")
        self.rank = rank
        self.failure = failure


def supervise(places: Sequence[Place], main: Main, args: argparse.Namespace, device: str) -> None:
    """Run `main(args, device)` in a process for each place; return when all have finished.

    Raises:
        ProcessFailed: the first failure, when no process is left.
        Stopped: by SIGTERM, to this process or to one of them.
        KeyboardInterrupt: no process is left.
    """
    processes = _Processes()
    before = signal.signal(signal.SIGTERM, lambda *_: processes.terminate())
    try:
        processes.start(places, main, args, device)
        processes.wait()
    except KeyboardInterrupt:
        processes.stop(signal.SIGINT, GRACE_SECONDS)
        with suppress(KeyboardInterrupt):  # the second one: at once
            processes.wait()
        raise
    finally:
        processes.kill()
        signal.signal(signal.SIGTERM, before)
    processes.raise_outcome()


class _Child:
    """A process that was started, and the end of the pipe where it tells of its failure."""

    def __init__(self, place: Place, main: Main, args: argparse.Namespace, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        method = multiprocessing.get_start_method()
        self.failures, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=run_spawned, args=(place, main, args, device, method, sender))
        self.process.start()
        sender.close()
        self.pid = int(self.process.pid or 0)

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and what it has started, such as its loading processes, if they are still there."""
        if self.process.is_alive():
            self.process.kill()
        with suppress(ProcessLookupError, PermissionError):  # no group yet or any more; on macOS, of the dead alone
            os.killpg(self.pid, signal.SIGKILL)

    def failure(self, code: int) -> Failure | None:
        """How it failed, after its end by `code`: exit code, or signal as a negative number."""
        with self.failures, suppress(EOFError):
            if self.failures.poll(1):  # else something that it started still holds the other end
                return self.failures.recv()
        if code in (0, STOPPED, -signal.SIGTERM):
            return None
        if code > 0:
            return Failure(code, f"pid {self.pid} ended with exit code {code} and without a word", time.monotonic())
        name = signal.Signals(-code).name
        cause = ", often because memory ran out (the kernel's log tells: dmesg)" if name == "SIGKILL" else ""
        aborted = name == "SIGABRT"  # as NCCL does in a process that another one has left
        return Failure(128 - code, f"pid {self.pid} was killed by {name}{cause}", time.monotonic(), lost=aborted)


class _Processes:
    def __init__(self) -> None:
        self._running: dict[int, _Child] = {}
        self._failures: dict[int, Failure] = {}
        self._killed: set[int] = set()
        self._terminated = False
        self._signals = 0
        self._deadline = math.inf

    def start(self, places: Sequence[Place], main: Main, args: argparse.Namespace, device: str) -> None:
        """Start them with SIGINT blocked, until they are in a state to be interrupted."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for place in places:
                self._running[place.rank] = _Child(place, main, args, device)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def wait(self) -> None:
        """Return when all have ended. A failure stops the others; what is left at the deadline is killed."""
        while self._running:
            wait([child.process.sentinel for child in self._running.values()], TICK_SECONDS)
            for rank, child in list(self._running.items()):
                if child.process.exitcode is not None:
                    self._note_end(rank, child.process.exitcode)
            if self._failures and self._deadline > time.monotonic() + GRACE_SECONDS:
                self.stop(signal.SIGTERM, GRACE_SECONDS)
            if time.monotonic() > self._deadline:
                self.kill()

    def _note_end(self, rank: int, code: int) -> None:
        child = self._running.pop(rank)
        child.kill()
        if rank in self._killed:
            return
        failure = child.failure(code)
        if failure:
            self._failures[rank] = failure
        elif code:
            self._terminated = True
            self.stop(signal.SIGTERM, STOP_SECONDS)

    def terminate(self) -> None:
        """Stop all in order, on SIGTERM; at once on the second one."""
        self._signals += 1
        self._terminated = True
        self.stop(signal.SIGTERM, STOP_SECONDS if self._signals == 1 else 0)

    def stop(self, number: int, seconds: float) -> None:
        """Ask all that are left to end, within so many seconds."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        for child in self._running.values():
            child.send(number)

    def kill(self) -> None:
        """End all that are left at once."""
        for rank, child in self._running.items():
            print(f"process {rank} did not stop and was killed", file=sys.stderr, flush=True)
            self._killed.add(rank)
            child.kill()
            child.process.join()

    def raise_outcome(self) -> None:
        """Raise what `supervise` raises when all have ended; of several failures the one that led to the others."""
        failures = {rank: one for rank, one in self._failures.items() if not (self._terminated and one.lost)}
        if failures:
            rank = min(failures, key=lambda rank: (failures[rank].lost, failures[rank].moment))
            raise ProcessFailed(rank, failures[rank])
        if self._terminated:
            raise Stopped
