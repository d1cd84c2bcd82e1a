"""One model in all processes of a run, whose gradients they share. Imports torch and `comm`."""

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ovss.d2.lite import comm


def create_ddp_model(model: nn.Module, **settings: Any) -> nn.Module:
    """The model itself, or, in several processes, one whose gradients are the mean over them, on GPUs and CPUs.

    All start from the weights of the first process. Every trained parameter must get a gradient in every pass: none
    is looked for that did not. Gradients lie in the memory from which they are sent, not beside it.

    Args:
        settings: of `DistributedDataParallel`, before the ones that are set here.
    """
    if comm.get_world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    defaults = {
        "device_ids": [torch.cuda.current_device()] if on_gpu else None,
        "broadcast_buffers": False,  # nothing in a model of this project changes but what is trained
        "gradient_as_bucket_view": True,
    }
    return DistributedDataParallel(model, **{**defaults, **settings})
