"""One model in all processes of a run, whose gradients they share. Imports torch and `comm`."""

import inspect
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ovss.d2.lite import comm


def create_ddp_model(model: nn.Module, **settings: Any) -> nn.Module:
    """The model itself, or, in several processes, one whose gradients are the mean over them, on GPUs and CPUs.

    All start from the weights of the first process. Every trained parameter must get a gradient in every pass: none
    is looked for that did not. Gradients lie in the memory from which they are sent, not beside it. On CPUs their mean
    is the same to the last bit in a resumed run.

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
    settings = {**defaults, **settings}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters:  # what newer torch calls it
        settings["forward_sync_buffers"] = settings.pop("broadcast_buffers")
    parallel = DistributedDataParallel(model, **settings)
    if not on_gpu:
        parallel.register_comm_hook(None, mean_in_rank_order)
    return parallel


def mean_in_rank_order(_: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """The mean of a bucket's gradients over all processes, summed by rank, whatever their place in the bucket.

    gloo's own sum of three or more takes them in an order that depends on the place, and places change after the first
    step of every start: torch then sorts gradients by when they are ready.
    """
    total = bucket.buffer()
    parts = [torch.empty_like(total) for _ in range(comm.get_world_size())]

    def mean(_: object) -> Tensor:
        total.copy_(parts[0])
        for part in parts[1:]:
            total.add_(part)
        return total.div_(len(parts))

    return dist.all_gather(parts, total, async_op=True).get_future().then(mean)
