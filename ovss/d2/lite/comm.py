"""Talk between the processes of one run; each call is also right in a single process. Imports torch.distributed only.

Objects travel pickled, but only between the processes of one run, over their own gloo group.
"""

import functools
from typing import Any

import torch
import torch.distributed as dist


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Number of processes of the run, on all machines together."""
    return dist.get_world_size() if _in_group() else 1


def get_rank() -> int:
    """Number of this process, in [0, world size)."""
    return dist.get_rank() if _in_group() else 0


def is_main_process() -> bool:
    """Whether this is the one process (rank 0) that prints and writes."""
    return get_rank() == 0


def synchronize() -> None:
    """Wait until all processes have come here."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:
        dist.barrier(device_ids=[torch.cuda.current_device()])  # without the id NCCL has to guess the device, and warns
    else:
        dist.barrier()


@functools.lru_cache
def _gloo_group() -> Any:
    """Group of all ranks for Python objects, which stay in CPU memory; None where the default group is gloo itself."""
    return dist.new_group(backend="gloo") if dist.get_backend() == dist.Backend.NCCL else None


def all_gather(data: Any, group: Any = None) -> list[Any]:
    """Return the `data` of all ranks, in rank order, on every rank. Any picklable object; every rank must call it."""
    if get_world_size() == 1:
        return [data]
    group = group or _gloo_group()
    gathered = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, data, group=group)
    return gathered


def gather(data: Any, dst: int = 0, group: Any = None) -> list[Any]:
    """Return the `data` of all ranks, in rank order, on rank `dst`, and an empty list on the others."""
    if get_world_size() == 1:
        return [data]
    group = group or _gloo_group()
    if dist.get_rank(group) != dst:
        dist.gather_object(data, None, dst=dst, group=group)
        return []
    gathered: list[Any] = [None] * dist.get_world_size(group)
    dist.gather_object(data, gathered, dst=dst, group=group)
    return gathered
