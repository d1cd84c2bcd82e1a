"""One process of a group: joins it, runs, says why it failed, ends. Imports torch and the seam."""

import argparse
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import NoReturn

import torch
import torch.distributed as dist

from ovss.d2.api import comm
from ovss.d2.processes.devices import USER_ERRORS, plain_message
from ovss.d2.processes.placement import Place

Main = Callable[[argparse.Namespace, str], None]
# How long a process waits for the others, to begin with and in every exchange. One that has died is noticed at once
# where its connections close with it; this is for a machine that falls silent.
TIMEOUT = timedelta(minutes=30)
# From SIGTERM to SIGKILL, in seconds: time for the step, the checkpoint and what an evaluation has counted.
STOP_SECONDS = 120.0
PARENT_SECONDS = 0.5  # between two looks whether what started a process is still there
TEXT_HALF = 5000  # characters of a failure's text; a pipe holds 64 KB
STOPPED = 128 + signal.SIGTERM  # exit code of a process that SIGTERM has stopped


@dataclass(frozen=True)
class Failure:
    """How a process failed.

    `code` is its exit code: 2 for a mistake of the user, 1 for one of the code, 128 + N for signal N. `text` is the
    message of a mistake, else a traceback or what is known. `moment` is in seconds of the machine's one clock.
    `lost`: it failed because another process had left; that one knows more.
    """

    code: int
    text: str
    moment: float
    lost: bool = False


def run_spawned(
    place: Place, main: Main, args: argparse.Namespace, device: str, start_method: str, failures: Connection
) -> NoReturn:
    """Body of a process that the supervisor has started, and on whose end it ends.

    `start_method`: how it starts processes in turn, those that load: as the supervisor would, not as it was itself
    started, which takes each of them seconds and memory.
    """
    multiprocessing.set_start_method(start_method, force=True)
    os.setpgid(0, 0)  # Ctrl-C is the supervisor's alone, and what this process starts can be ended with it
    parent = multiprocessing.parent_process()
    assert parent is not None
    stop_without(int(parent.pid or 0))
    run_in_group(place, main, args, device, lambda failure: failures.send(_shortened(failure)))


def _shortened(failure: Failure) -> Failure:
    """Beginning and end of what is longer than a pipe holds: it is read when this process has ended."""
    if len(failure.text) <= 2 * TEXT_HALF:
        return failure
    return replace(failure, text=f"{failure.text[:TEXT_HALF]} ... {failure.text[-TEXT_HALF:]}")


def stop_without(parent: int) -> None:
    """From now on: stop this process, in order, when its parent is another; by force if that takes too long."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        if os.getpgrp() == os.getpid():  # torchrun's processes may be in the group of who started it
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def run_in_group(
    place: Place, main: Main, args: argparse.Namespace, device: str, tell: Callable[[Failure], None]
) -> NoReturn:
    """Join the group, run `main(args, device)`, end this process: with exit code 0, or by telling of its failure."""
    failure: Failure | None = None
    code = 0
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _join(place, device)
        main(args, device)
        comm.synchronize()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code not in (0, STOPPED):
            failure = Failure(code, f"exit code {code}, for the reason given above", time.monotonic())
    except USER_ERRORS as error:
        failure = Failure(2, plain_message(error), time.monotonic())
    except BaseException as error:
        failure = Failure(1, traceback.format_exc(), time.monotonic(), _lost(error))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it ends anyway
    if failure:
        tell(failure)
        code = failure.code
    _end(code)


def _join(place: Place, device: str) -> None:
    """Join the group: nccl on GPUs, one for each process; on the CPU gloo, sharing its cores."""
    gpu = None
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # what looks whether there is a GPU shall not open one
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(torch.get_num_threads() // place.local_size, 1))
    else:
        gpu = torch.device("cuda", torch.device(device).index or place.local_rank)
        torch.cuda.set_device(gpu)
    try:
        dist.init_process_group(
            "nccl" if gpu else "gloo",
            init_method=place.url,
            world_size=place.world_size,
            rank=place.rank,
            timeout=TIMEOUT,
            device_id=gpu,
        )
    except RuntimeError as error:  # a name that is unknown, a port that is taken, a machine that never came
        if isinstance(error, dist.DistBackendError):  # NCCL itself
            raise
        raise ValueError(f"the processes cannot meet at {place.url}: {str(error).splitlines()[0]}") from error
    if hasattr(comm, "create_local_process_group"):  # Detectron2's own launcher does this for its users' code
        comm.create_local_process_group(place.local_size)
    comm.synchronize()  # a slow starter must not eat the time-out of the first real exchange


def _lost(error: BaseException) -> bool:
    """Whether this is what torch raises in a process that another one has left."""
    if isinstance(error, dist.DistError):
        return True
    closed = r"gloo|nccl|c10d|connection (was )?(closed|reset|refused)|broken pipe"
    return isinstance(error, RuntimeError) and bool(re.search(closed, str(error), re.IGNORECASE))


def _end(code: int) -> NoReturn:
    """End this process at once.

    Detectron2 keeps its process groups to the end, and tearing down the interpreter with a gloo group alive sometimes
    aborts (torch 2.15), which would turn a finished run into a failed one. A loading process that was still starting
    would wait for ever.
    """
    for child in multiprocessing.active_children():
        child.terminate()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
