"""Activation checkpointing (Chen et al. 2016, section 3): memory for time, in training. Plain torch."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")


def recomputed(when: bool, function: Callable[..., Result], *inputs: Any) -> Result:
    """`function(*inputs)`; `when` asked for, nothing but its inputs is kept for the backward pass, which runs it again.

    The second run draws the same random numbers under the same autocast. Without gradients nothing is run twice.
    """
    if when and torch.is_grad_enabled():
        return checkpoint(function, *inputs, use_reentrant=False)
    return function(*inputs)
