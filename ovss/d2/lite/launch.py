"""Start one process per GPU (nccl) or several on the CPU (gloo) and join them in a group. Imports torch and `comm`."""

import socket
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ovss.d2.lite import comm

DEFAULT_TIMEOUT = timedelta(minutes=30)


def launch(
    main_func: Callable,
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: tuple = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> None:
    """Call `main_func(*args)` in `num_machines * num_gpus_per_machine` processes; a single one is the present process.

    Must be called on every machine, with its own `machine_rank`. `dist_url` is where rank 0 is found, such as
    "tcp://10.0.0.1:29500"; "auto" takes a free port of this machine. The backend is nccl where torch sees a GPU, else
    gloo.

    Raises:
        ValueError: "auto" with several machines, or more processes than the GPUs that torch sees.
        torch.multiprocessing.ProcessRaisedException: a process failed; the message holds its traceback.
    """
    if num_machines * num_gpus_per_machine <= 1:
        main_func(*args)
        return
    if dist_url in (None, "auto"):
        if num_machines > 1:
            raise ValueError(f"{num_machines} machines cannot meet at dist_url={dist_url!r}; give tcp://HOST:PORT")
        dist_url = f"tcp://127.0.0.1:{_free_port()}"
    if torch.cuda.is_available() and num_gpus_per_machine > torch.cuda.device_count():
        raise ValueError(f"{num_gpus_per_machine} GPUs asked for, but torch sees {torch.cuda.device_count()}")
    group = (dist_url, num_machines * num_gpus_per_machine, machine_rank * num_gpus_per_machine, timeout)
    mp.start_processes(_worker, args=(main_func, args, *group), nprocs=num_gpus_per_machine, start_method="spawn")


def _free_port() -> int:
    """A port that was free a moment ago; the system gives each caller another one."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _worker(
    local_rank: int,
    main_func: Callable,
    args: tuple,
    dist_url: str,
    world_size: int,
    first_rank: int,
    timeout: timedelta,
) -> None:
    """Body of a child process: join the group, run, leave the group."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=dist_url,
        world_size=world_size,
        rank=first_rank + local_rank,
        timeout=timeout,
    )
    comm.synchronize()  # a slow starter must not eat the time-out of the first real exchange
    main_func(*args)
    comm.leave()
