"""The processes of one run, forked from the test: nothing has to be imported, built or pickled for them anew."""

import tempfile
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ovss.d2.training.loader import use_one_thread


def in_processes(count: int, work: Callable[[], object]) -> None:
    """Call `work()` in `count` processes on the CPU that gloo has joined; an error of one is raised here."""
    use_one_thread()  # a fork that did so itself would wait for ever for the threads that OpenCV has here
    with tempfile.TemporaryDirectory() as folder:
        args = (work, count, f"file://{folder}/meeting")
        mp.start_processes(_joined, args=args, nprocs=count, start_method="fork")


def _joined(rank: int, work: Callable[[], object], count: int, url: str) -> None:
    torch.set_num_threads(1)  # those of the test's process are not in its fork, which would wait for them
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=count)
    work()
    dist.barrier()
