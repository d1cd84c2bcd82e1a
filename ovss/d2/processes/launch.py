"""Runs a program's work in as many processes as its command line or torchrun asks for. Imports torch and the seam.

`placement.py` says which process is which, `worker.py` what each does around the work, `supervisor.py` starts and ends
those of one machine.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ovss.d2.api import default_argument_parser
from ovss.d2.processes.devices import USER_ERRORS, plain_message, resolve_devices
from ovss.d2.processes.placement import check_machines, from_torchrun, on_this_machine
from ovss.d2.processes.supervisor import ProcessFailed, supervise
from ovss.d2.processes.worker import Failure, Main, run_in_group, stop_without

logger = logging.getLogger(__name__)


def launch_main(main: Main, args: argparse.Namespace, device: str) -> None:
    """Run `main(args, device)` in as many processes as `args` and `device` (MODEL.DEVICE) ask for, or torchrun starts.

    `main` receives the device to use, which is the CPU where no GPU can be had. With several processes `main` must be a
    function at the top of a module. `args` are those of `default_argument_parser`. Under torchrun this does not return.

    Raises:
        ValueError: processes, machines or devices that cannot be had, or a mistake of the user that a process has met.
        SystemExit: a process has failed otherwise and its traceback been printed (code 1), a signal has ended one
            (128 + its number), or SIGTERM has stopped all (143).
    """
    place = from_torchrun(os.environ, args)
    option, asked = ("--nproc-per-node", place.local_size) if place else ("--num-gpus", args.num_gpus)
    processes, resolved = resolve_devices(asked, device, torch.cuda.device_count(), option)
    if resolved != device:
        logger.warning(f"{option} {asked} on {torch.cuda.device_count()} GPUs: running on the CPU")
    if place and place.world_size > 1:
        stop_without(os.getppid())  # torchrun, which may be killed
        run_in_group(place, main, args, resolved, lambda failure: _tell(place.rank, failure))
    given = "" if args.dist_url in ("auto", default_argument_parser().get_default("dist_url")) else args.dist_url
    check_machines(args, given)
    if processes * args.num_machines == 1:
        main(args, resolved)
        return
    with _meeting_point(given) as url:
        try:
            supervise(on_this_machine(args, processes, url), main, args, resolved)
        except ProcessFailed as error:
            if error.failure.code == 2:
                raise ValueError(str(error)) from None
            _tell(error.rank, error.failure)
            sys.exit(error.failure.code)


@contextmanager
def exit_codes(program: str) -> Iterator[None]:
    """What ends a program for its user: one line and exit code 2 for a mistake, 130 for Ctrl-C."""
    try:
        yield
    except USER_ERRORS as error:
        print(f"{program}: error: {plain_message(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


@contextmanager
def _meeting_point(given: str) -> Iterator[str]:
    """Where the processes find each other: at `given`, or, on one machine, in a fresh file.

    A port found free may be taken before its use, and a port can be reached by others; files never clash.
    """
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="ovss_launch_") as folder:
        yield f"file://{folder}/processes"


def _tell(rank: int, failure: Failure) -> None:
    """Print why a process has failed: a traceback, but for what merely follows from the end of another process."""
    text = failure.text.strip()
    if failure.lost:
        text = f"another process has left ({text.splitlines()[-1]}); its own message says why"
    print(f"process {rank} failed: {text}", file=sys.stderr, flush=True)
