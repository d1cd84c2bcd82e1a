"""Small jobs for tests of how processes start and end: `python launch_jobs.py JOB FOLDER [options of train_net.py]`."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from torch.utils.data import DataLoader

from ovss.d2.api import comm, default_argument_parser
from ovss.d2.processes.launch import exit_codes, launch_main


def tell(args, device):
    """Every process writes what it knows of its place, the others' too."""
    mine = {"rank": comm.get_rank(), "world": comm.get_world_size(), "device": device}
    mine["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    everyone = comm.all_gather(mine)
    (Path(args.folder) / f"{comm.get_rank()}.json").write_text(json.dumps(everyone))


def mark(args):
    """Say that this process is at work: once, for a reader must never find an empty file."""
    path = Path(args.folder) / f"pid_{comm.get_rank()}"
    if not path.exists():
        path.with_suffix(".new").write_text(str(os.getpid()))
        path.with_suffix(".new").rename(path)


def fail(args, device):
    """The last process has an error that is nobody's mistake; the others wait for it in vain."""
    if comm.get_rank() == comm.get_world_size() - 1:
        raise RuntimeError("rank one is unwell")
    comm.synchronize()


def mistake(args, device):
    """The last process meets a mistake of the user."""
    if comm.get_rank() == comm.get_world_size() - 1:
        raise ValueError(f"SOLVER.BASE_LR -1: must be positive{' and' * 10**6} small")
    comm.synchronize()


def die(args, device):
    """The last process is killed while the others wait for it."""
    if comm.get_rank() == comm.get_world_size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.synchronize()


def deaf(args, device):
    """Process 0 does not listen to SIGTERM; the last fails."""
    if comm.get_rank() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(100)
    raise RuntimeError("rank one is unwell")


def load(args, device):
    """Every process takes batches from loading processes, for ever."""
    for _ in DataLoader(range(10**9), num_workers=1, collate_fn=list):
        mark(args)
        time.sleep(0.01)


def wait_for(args, device):
    """Every process waits for the others again and again, for ever."""
    while True:
        mark(args)
        comm.synchronize()
        time.sleep(0.01)


if __name__ == "__main__":
    job, folder, *words = sys.argv[1:]
    arguments = default_argument_parser().parse_args(words)
    arguments.folder = folder
    with exit_codes("launch_jobs.py"):
        launch_main(globals()[job], arguments, "cpu")
