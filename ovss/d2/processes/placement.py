"""Which process of a run is which, and where they meet: by the command line or by torchrun. Standard library alone.

A run is P processes on each of M machines, ranks 0 to P*M-1, machine by machine. train_net.py starts those of its own
machine (`--num-gpus`, `--num-machines`, `--machine-rank`, `--dist-url`), or torchrun has started this one.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

# What torchrun tells each of its processes, and what this project reads.
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """One process: its rank in [0, world_size), and among the `local_size` of its machine; where all of them meet."""

    rank: int
    world_size: int
    local_rank: int
    local_size: int
    url: str


def from_torchrun(environ: Mapping[str, str], args: argparse.Namespace) -> Place | None:
    """This process's place where torchrun has started it, else None. `args` must not say otherwise.

    Raises:
        ValueError: a part of torchrun's environment, or an option that contradicts it.
    """
    if "RANK" not in environ or "WORLD_SIZE" not in environ:
        return None
    missing = [name for name in TORCHRUN if name not in environ]
    if missing:
        if environ["WORLD_SIZE"] == "1":
            return None
        raise ValueError(
            f"the environment has RANK {environ['RANK']} and WORLD_SIZE {environ['WORLD_SIZE']}, as under torchrun, "
            f"but not {', '.join(missing)}: start by torchrun, or unset them and give --num-gpus"
        )
    rank, world_size, local_rank, local_size = (int(environ[name]) for name in TORCHRUN[:4])
    for option, given, ours in (
        ("--num-gpus", args.num_gpus, local_size),
        ("--num-machines", args.num_machines, world_size // local_size),
    ):
        if given not in (1, ours):  # 1 is what the parser gives where the option is not there
            raise ValueError(f"{option} {given}, but torchrun has started {ours}: leave {option} to torchrun")
    return Place(rank, world_size, local_rank, local_size, "env://")


def on_this_machine(args: argparse.Namespace, processes: int, url: str) -> list[Place]:
    """The places of this machine's processes, which meet at `url`. Every machine has as many."""
    first = args.machine_rank * processes
    world_size = args.num_machines * processes
    return [Place(first + local, world_size, local, processes, url) for local in range(processes)]


def check_machines(args: argparse.Namespace, url: str) -> None:
    """Raise ValueError for machines that do not exist or could not find each other at `url` (empty: none was given)."""
    if args.num_machines < 1:
        raise ValueError(f"--num-machines {args.num_machines}: give at least 1")
    if not 0 <= args.machine_rank < args.num_machines:
        raise ValueError(
            f"--machine-rank {args.machine_rank}, but --num-machines {args.num_machines}: they count from 0 to "
            f"{args.num_machines - 1}"
        )
    if args.num_machines > 1 and not url:
        raise ValueError(
            f"--num-machines {args.num_machines} needs --dist-url tcp://HOST:PORT, the same on all of them: the name "
            "or address of machine 0 and a port that is free there"
        )
    if url and not url.startswith(("tcp://", "file://")):
        raise ValueError(f"--dist-url {url}: give tcp://HOST:PORT")
