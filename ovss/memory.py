"""How much memory a pass may use for what it could also make again. Imports torch and the standard library."""

import os
from contextlib import suppress
from pathlib import Path

import torch

# Of what is free, unless told: so that a long vocabulary takes no more than a short one, give or take this much.
SHARE, MOST = 1 / 4, 2**30
CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still take: on a GPU, or of the machine's memory, within the limit of its container."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    limits = [_of_machine()]
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        used = int((CGROUP / "memory.current").read_text()) - _of_files()
        limits.append(int((CGROUP / "memory.max").read_text()) - used)
    return max(min(limits), 0)


def _of_files() -> int:
    """Copies of files that a container's memory holds, and gives up where it is wanted."""
    lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.split()[0] in ("inactive_file", "active_file"))


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    except (OSError, StopIteration):  # not Linux: half of what is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def default_budget(device: torch.device) -> int:
    """Bytes: `SHARE` of what is free, at most `MOST`."""
    return min(int(SHARE * free_memory(device)), MOST)
