"""How much memory this process has needed so far. Imports torch and the standard library."""

import resource
import sys

import torch


def peak_memory(device: torch.device) -> float:
    """MiB: the most that tensors on a GPU took, or, on the CPU, the most that the whole process had resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
