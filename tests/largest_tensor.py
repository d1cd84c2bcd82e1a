"""Watches how large the tensors are that a piece of code makes."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Largest(TorchDispatchMode):
    """Notes the number of values of the largest tensor that an operator makes."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else (result,)
        self.values = max(self.values, *(item.numel() for item in made if isinstance(item, torch.Tensor)), 0)
        return result
