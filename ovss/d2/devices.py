"""From `--num-gpus` and MODEL.DEVICE to processes and a device; starts them. Imports torch and the seam."""

import argparse
import logging
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.multiprocessing.spawn import ProcessExitedException

from ovss.d2.api import comm, default_argument_parser, launch

logger = logging.getLogger(__name__)
# Mistakes of a user (files, words, settings), as against mistakes of this code.
USER_ERRORS = (ValueError, OSError)


def resolve_devices(num_gpus: int, device: str, cuda_count: int) -> tuple[int, str]:
    """Return (processes on this machine, device) for `--num-gpus`, MODEL.DEVICE and the number of GPUs of the machine.

    `--num-gpus 0`, or 1 where there is no GPU, means the CPU; on the device "cpu" it counts processes instead.

    Raises:
        ValueError: more GPUs than there are, or an unknown device.
    """
    if num_gpus < 0:
        raise ValueError(f"--num-gpus {num_gpus}: give 0 for the CPU or a number of GPUs")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"MODEL.DEVICE {device!r} is unknown; known: cpu, cuda, cuda:<number>")
    if device == "cpu":
        return max(num_gpus, 1), "cpu"
    if num_gpus == 0 or (cuda_count == 0 and num_gpus == 1):
        return 1, "cpu"
    if num_gpus > cuda_count:
        raise ValueError(
            f"--num-gpus {num_gpus}, but this machine has {cuda_count}: ask for at most that many, "
            "or add MODEL.DEVICE cpu to run that many processes on the CPU"
        )
    if device == "cuda":
        return num_gpus, device
    if num_gpus > 1:
        raise ValueError(f"--num-gpus {num_gpus}, but MODEL.DEVICE {device} is a single GPU: set MODEL.DEVICE cuda")
    if int(device.removeprefix("cuda:")) >= cuda_count:
        raise ValueError(f"MODEL.DEVICE {device}, but this machine has {cuda_count} GPUs, numbered from 0")
    return 1, device


def plain_message(error: BaseException) -> str:
    """What an error says, without the traceback that a loading process wraps around it."""
    text = str(error)
    if "in DataLoader worker process" not in text:
        return text
    return text.strip().splitlines()[-1].split(": ", 1)[-1]


def launch_main(main: Callable[[argparse.Namespace, str], None], args: argparse.Namespace, device: str) -> None:
    """Run `main(args, device)` in as many processes as `args.num_gpus` and `device` (MODEL.DEVICE) ask for.

    `main` receives the device to use, which is the CPU where no GPU can be had. With several processes `main` must be a
    function at the top of a module. `args` are those of `default_argument_parser`.
    """
    processes, resolved = resolve_devices(args.num_gpus, device, torch.cuda.device_count())
    if resolved != device:
        logger.warning(f"--num-gpus {args.num_gpus} on {torch.cuda.device_count()} GPUs: running on the CPU")
    alone = processes * args.num_machines <= 1
    with nullcontext() if alone or resolved != "cpu" else _cpu_children(processes), _meeting_point(args) as dist_url:
        target, arguments = (main, (args, resolved)) if alone else (_run_child, (main, args, resolved))
        try:
            launch(target, processes, args.num_machines, args.machine_rank, dist_url, args=arguments)
        except ProcessExitedException as error:  # the child has said why
            sys.exit(error.exit_code)


def _run_child(main: Callable[[argparse.Namespace, str], None], args: argparse.Namespace, device: str) -> None:
    """Run `main`, then end this child process at once, after all have finished.

    Detectron2 keeps its process groups to the end, and tearing down the interpreter with a gloo group alive sometimes
    aborts (torch 2.15), which would turn a finished run into a failed one. A user's mistake ends it with one line and
    exit code 2; any other error with its traceback.
    """
    signal.signal(signal.SIGTERM, lambda *_: _end(143))  # sent where another process has failed
    try:
        main(args, device)
    except USER_ERRORS as error:
        print(f"process {comm.get_rank()}: error: {plain_message(error)}", file=sys.stderr, flush=True)
        _end(2)
    comm.synchronize()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    _end(0)


def _end(code: int) -> None:
    """End this process at once, and its loading processes: one that was still starting would wait for ever."""
    for child in multiprocessing.active_children():
        child.terminate()
    os._exit(code)


@contextmanager
def _meeting_point(args: argparse.Namespace) -> Iterator[str]:
    """Where the processes find each other: `--dist-url` where it was given, else, on one machine, a fresh file.

    Detectron2's default is one port per user; a port found free may be taken before its use; files never clash.
    """
    given = args.dist_url not in ("auto", default_argument_parser().get_default("dist_url"))
    if given or args.num_machines > 1:
        yield args.dist_url
        return
    with tempfile.TemporaryDirectory(prefix="ovss_launch_") as folder:
        yield f"file://{folder}/processes"


@contextmanager
def _cpu_children(processes: int) -> Iterator[None]:
    """Environment for child processes on the CPU, restored afterwards.

    GPUs are hidden because `launch` takes nccl wherever torch sees one; the cores are shared out because each child
    would otherwise use all of them.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max((os.cpu_count() or 1) // processes, 1))
    changes = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": threads}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
