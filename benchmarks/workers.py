"""A process for every row of a benchmark: it makes the row's work, and counts, weighs and times it when asked.

So every row has its own peak of memory, and the authors' code can run beside this project's, whose packages have the
same names. What describes a row must therefore import neither. Imports torch and this project's reader of memory.
"""

import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.counting import count_flops, least_bytes
from benchmarks.roofline import Rates, measure_rates, precision, synchronise
from ovss.d2.watch.memory import peak_memory


@dataclass(frozen=True)
class Work:
    """A call that is timed, and the tensors and modules that it must read; what it returns, it must write."""

    call: Callable[[], object]
    reads: Sequence[object] = ()


@dataclass(frozen=True)
class Row:
    """A name, and what makes the work in the row's own process: a function of a module, or a `partial` of one.

    Args:
        dtype: number format, a key of `roofline.DTYPES`.
        autocast: whether the call runs under torch.autocast of that format; else the work sees to its format itself.
        scale: the row's figures are those of a call times this: 1/8 for eight pictures at once, 15 for a fifteenth.
        warm_up: calls before anything is timed; the peak of memory is theirs.
    """

    name: str
    make: Callable[[], Work]
    dtype: str = "float32"
    autocast: bool = True
    scale: float = 1.0
    warm_up: int = 1


class Worker:
    """The process of a row."""

    def __init__(self, row: Row, device: str, threads: int):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, row, device, threads), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, task: str) -> Any:
        """The answer of one of `TASKS`. Raises RuntimeError, with a line that says what went wrong there."""
        try:
            self.connection.send(task)
            answer, error = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise RuntimeError(f"its process ended with {self.process.exitcode} (-9: out of memory?)") from None
        if error:
            raise RuntimeError(error)
        return answer

    def end(self) -> None:
        self.connection.close()
        self.process.join()


def serve(connection: Connection, row: Row, device: str, threads: int) -> None:
    """In a row's process: answer until the other side closes."""
    torch.set_num_threads(threads)
    work: Work | None = None
    with suppress(EOFError):
        while True:
            task = connection.recv()
            try:
                autocast = precision(row.dtype, device)
                work = work or row.make()
                with autocast if row.autocast else nullcontext():
                    answer = TASKS[task](work, row, device)
                connection.send((answer, ""))
            except Exception as error:  # whatever the authors' code may raise
                traceback.print_exc()
                connection.send((None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"))


def weigh(work: Work, row: Row, device: str) -> tuple[float, float]:
    """Most MiB before and during the first calls: of the whole process, on a GPU of tensors."""
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    else:
        with suppress(OSError):  # where this cannot be done the peak includes what making the work took
            Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory(place)
    for _ in range(row.warm_up):
        work.call()
    synchronise(device)
    return before, max(before, peak_memory(place))  # Linux counts pages by the batch: a peak may read less than before


def count(work: Work, row: Row, device: str) -> tuple[float, float]:
    """Operations and least bytes."""
    result: list[object] = []
    flops = count_flops(lambda: result.append(work.call()))
    return flops * row.scale, least_bytes(work.reads, result) * row.scale


def seconds_of(work: Work, row: Row, device: str) -> float:
    synchronise(device)
    start = time.perf_counter()
    work.call()
    synchronise(device)
    return (time.perf_counter() - start) * row.scale


TASKS: dict[str, Callable[[Work, Row, str], Any]] = {"weigh": weigh, "count": count, "time": seconds_of}


def fresh_rates(dtype: str, device: str, threads: int, budget: float) -> Rates:
    """`measure_rates` in a process of its own: its settings and memory touch no row."""
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (threads,)) as pool:
        return pool.apply(measure_rates, (dtype, device, budget))
