"""One function over many inputs on all cores: answers in order, in bounded memory. Standard library only."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

Input = TypeVar("Input")
Answer = TypeVar("Answer")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function: Callable[[Input], Answer], inputs: Iterable[Input], workers: int) -> Generator[Answer]:
    """Yield `function(input)` of every input, from `workers` processes, or from this one where `workers` is 1.

    `function` and the inputs must be picklable. A few inputs a worker are under way at a time. When the caller stops,
    by an error, an interrupt or `close`, those are finished and no other begins; when it is killed, workers end too.

    Raises:
        ChildProcessError: a worker was killed.
        Whatever `function` raises.
    """
    if workers == 1:
        yield from map(function, inputs)
        return
    with _postponed_interrupts() as interrupted:
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
        pending: deque[Future[Answer]] = deque()
        try:
            for given in inputs:
                pending.append(pool.submit(function, given))
                if len(pending) >= 4 * workers:
                    yield pending.popleft().result()
                if interrupted:
                    break
            while pending and not interrupted:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of {workers} worker processes was killed, perhaps for want of memory: run with fewer"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _postponed_interrupts() -> Iterator[list[int]]:
    """Interrupts go into a list, and become one KeyboardInterrupt at the end.

    Raised inside the pool's own code, such as by a second Ctrl-C while it shuts down, it leaves processes that wait for
    each other forever.
    """
    interrupts: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # it alone is interrupted
        yield interrupts
        return
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupts:
            raise KeyboardInterrupt


def _start_worker() -> None:
    """Leave interrupts to the parent, and end when it does: a pool's worker would wait for work forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
