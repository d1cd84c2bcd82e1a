"""How many threads torch computes with, where Python's threads share it. Imports torch alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class _Shared:
    """How many are in `one_thread`, and the number of threads before the first of them."""

    lock = threading.Lock()
    inside = 0
    threads = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """For many small steps on a CPU: several threads save little there, and on a busy machine cost a hundredfold.

    Python's threads may be in here together. One that meets torch for the first time while another is in here takes
    over the number that it finds: so the number from before all of them is restored, not its own.
    """
    with _Shared.lock:
        threads = torch.get_num_threads()  # always: torch sets a new thread's number when it is first asked for
        if not _Shared.inside:
            _Shared.threads = threads
        _Shared.inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _Shared.lock:
            _Shared.inside -= 1
            torch.set_num_threads(_Shared.threads)
