"""One step of the optimizer, on both engines: micro-batches, gradients over all processes, what was found on the way.

Losses are weighed, so that any number of processes and of micro-batches gives the gradient of the whole batch. Imports
torch and the seam.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ovss.d2.api import comm

Batch = list[dict[str, Any]]


@dataclass(frozen=True)
class Findings:
    """What a step found, the same in all processes.

    Args:
        losses: by name, weighted means over all processes and micro-batches; the total is their sum.
        data_time: the longest that a process waited for its data, in seconds.
        unreadable: whether any crop stands in for a picture that cannot be used.
    """

    losses: dict[str, float]
    data_time: float
    unreadable: bool

    @property
    def total(self) -> float:
        return sum(self.losses.values())

    def scalars(self) -> dict[str, float]:
        """What the engine's storage is given; each loss by itself where there are several."""
        several = self.losses if len(self.losses) > 1 else {}
        return {"data_time": self.data_time, "total_loss": self.total, **several}


class Step:
    """`step(batch, data_time)` runs the model on this process's share of a batch and changes its weights once.

    Args:
        model: batch -> losses by name, each a mean; in several processes `DistributedDataParallel`.
        loss_weight: how many things the losses of such a list are means over.
        accumulate: micro-batches that the share is cut into; a step needs the memory of one of them.
        after_backward: called when all gradients are there.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        loss_weight: Callable[[Batch], float],
        accumulate: int = 1,
        after_backward: Callable[[], None] = lambda: None,
    ):
        self.model, self.optimizer, self.loss_weight = model, optimizer, loss_weight
        self.accumulate, self.after_backward = accumulate, after_backward
        self.device = next(model.parameters()).device

    def __call__(self, batch: Batch, data_time: float) -> Findings:
        """Train on `batch`, for which this process waited `data_time` seconds.

        Raises:
            FloatingPointError: a loss that is not finite, in all processes, before it can spoil the weights.
        """
        assert self.model.training, "the model was left in evaluation mode"
        size = len(batch) // self.accumulate
        micro_batches = [batch[first : first + size] for first in range(0, len(batch), size)]
        factors = self._factors([self.loss_weight(micro_batch) for micro_batch in micro_batches])
        self.optimizer.zero_grad()
        losses: dict[str, Tensor] = {}
        for index, (micro_batch, factor) in enumerate(zip(micro_batches, factors, strict=True)):
            with nullcontext() if index == len(factors) - 1 else self._alone():
                for name, loss in self._backward(micro_batch, factor).items():
                    losses[name] = losses[name] + loss if name in losses else loss
        self.after_backward()
        found = self._findings(losses, data_time, any("unreadable" in crop for crop in batch))
        if not math.isfinite(found.total):
            raise FloatingPointError(f"the loss is not finite: {found.losses}")
        self.optimizer.step()
        return found

    def _alone(self) -> Any:
        """Gradients of all micro-batches but the last stay in this process, which then sends the sum."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def _factors(self, weights: Sequence[float]) -> list[Tensor]:
        """What to multiply each micro-batch's losses by, so that the mean of the gradients over processes is right."""
        total = self._number(sum(weights))
        if comm.get_world_size() > 1:
            dist.all_reduce(total)
        total.clamp_min_(torch.finfo(total.dtype).tiny)  # no label in the whole batch: all losses are 0
        return [weight * comm.get_world_size() / total for weight in weights]

    def _backward(self, micro_batch: Batch, factor: Tensor) -> dict[str, Tensor]:
        """Add a micro-batch's gradients to those that are there; returns its weighed losses."""
        losses: dict[str, Tensor] = self.model(micro_batch)
        loss = reduce(torch.add, losses.values())
        (loss * factor.to(loss)).backward()
        return {name: loss.detach() * factor for name, loss in losses.items()}

    def _findings(self, losses: dict[str, Tensor], data_time: float, unreadable: bool) -> Findings:
        """Exchange what the processes found, in one small message; the one wait for the GPU."""
        row = torch.stack([*losses.values(), self._number(data_time), self._number(unreadable)])
        rows = [torch.empty_like(row) for _ in range(comm.get_world_size())]
        if len(rows) > 1:
            dist.all_gather(rows, row)
        else:
            rows = [row]
        columns = torch.stack(rows).T.tolist()
        means = [sum(column) / len(rows) for column in columns[: len(losses)]]
        data_time, unreadable = (max(column) for column in columns[len(losses) :])
        return Findings(dict(zip(losses, means, strict=True)), data_time, bool(unreadable))

    def _number(self, value: float) -> Tensor:
        """A number on the device, without the wait that a copy of it would be."""
        return torch.full((), value, dtype=torch.float64, device=self.device)
