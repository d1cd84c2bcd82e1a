"""Numbers of half precision, and where they are not enough. Imports torch only."""

import torch
from torch import Tensor

# Names of what autocast computes in.
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision to float32: for sums of many terms, and for differences that it would round away."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def half(name: str, key: str, device: torch.device) -> torch.dtype:
    """What a name means, as the value of a config key, on a device.

    Raises:
        ValueError: an unknown name, or one that a GPU computes slowly or not at all.
    """
    if name not in HALVES:
        raise ValueError(f"unknown {key} {name!r}; known: {', '.join(HALVES)}")
    if name == "bfloat16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise ValueError(f"{key} bfloat16, but {torch.cuda.get_device_name(device)} has no units for it: take float16")
    return HALVES[name]
