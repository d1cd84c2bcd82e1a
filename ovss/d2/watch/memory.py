"""How much memory this process has needed so far. Imports torch and the standard library."""

import re
import resource
import sys

import torch


def peak_memory(device: torch.device) -> float:
    """MiB: the most that tensors on a GPU took, or, on the CPU, the most that the whole process had resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "linux":  # whose ru_maxrss starts at that of the process that started this one
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return int(re.findall(r"^VmHWM:\s+(\d+) kB", file.read(), re.MULTILINE)[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
