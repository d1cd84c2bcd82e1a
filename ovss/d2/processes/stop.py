"""SIGTERM, by which SLURM and other supervisors ask for an orderly end: what it does where. Standard library.

Training notes it, finishes the step and keeps it; an evaluation ends at once, and what it has counted is written.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_noted = threading.Event()
_raised = threading.Event()


class Stopped(SystemExit):
    """The end that SIGTERM asked for; with exit code 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def stop_requested() -> bool:
    """Whether SIGTERM came in `sigterm_noted`."""
    return _noted.is_set()


@contextmanager
def sigterm_noted() -> Iterator[None]:
    """Within, SIGTERM does nothing but what `stop_requested` says."""
    _noted.clear()
    with _handled_by(lambda *_: _noted.set()):
        yield


@contextmanager
def sigterm_stops() -> Iterator[None]:
    """Within, SIGTERM raises `Stopped` where it meets the program; it does so on entering if it was noted before."""
    if stop_requested():
        raise Stopped
    hook = sys.unraisablehook  # which would print what Python drops: see stop_if_raised
    sys.unraisablehook = lambda dropped: None if isinstance(dropped.exc_value, Stopped) else hook(dropped)
    try:
        with _handled_by(_stop):
            yield
    finally:
        sys.unraisablehook = hook
        _raised.clear()


def stop_if_raised() -> None:
    """Raise `Stopped` again if it was: Python drops what is raised in a destructor or while a process forks."""
    if _raised.is_set():
        raise Stopped


def _stop(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # the second one shall not disturb the end
    _raised.set()
    raise Stopped


@contextmanager
def _handled_by(handler: object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)  # type: ignore[arg-type]
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
