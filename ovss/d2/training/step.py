"""One step of the optimizer, on both engines: micro-batches, gradients over all processes, what was found on the way.

Losses are weighed, so that any number of processes and of micro-batches gives the gradient of the whole batch. The
weights change only after all processes know that what they found is finite. Imports torch and the seam.
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
from ovss.d2.watch.memory import peak_memory

Batch = list[dict[str, Any]]


@dataclass(frozen=True)
class Findings:
    """What a step found, the same in all processes.

    Args:
        losses: by name, weighted means over all processes and micro-batches; the total is their sum.
        by_process: of which these are the means: what each process adds, its own losses where all weigh the same.
        gradient_norm: of all parameters together, before clipping; infinite where float16 was too small for gradients.
        loss_scale: what losses were multiplied by for float16, else None.
        data_time: the longest that a process waited for its data, in seconds.
        max_memory: MiB, the most that a process has needed so far, see `peak_memory`.
        unreadable: whether any crop stands in for a picture that cannot be used.
        stop: whether a process was asked to stop.
    """

    losses: dict[str, float]
    by_process: list[dict[str, float]]
    gradient_norm: float
    loss_scale: float | None
    data_time: float
    max_memory: float
    unreadable: bool
    stop: bool

    @property
    def total(self) -> float:
        return sum(self.losses.values())

    @property
    def overflow(self) -> bool:
        """Whether gradients were too large at this loss scale, so that the weights stay and the scale falls."""
        return self.loss_scale is not None and self.loss_scale > 1 and not math.isfinite(self.gradient_norm)

    def scalars(self) -> dict[str, float]:
        """What the engine's storage is given; each loss by itself where there are several."""
        scalars = {"data_time": self.data_time, "max_memory": self.max_memory, "total_loss": self.total}
        if len(self.losses) > 1:
            scalars |= self.losses
        if self.loss_scale is not None:
            scalars["loss_scale"] = self.loss_scale
        return scalars if self.overflow else {**scalars, "gradient_norm": self.gradient_norm}


class NotFinite(FloatingPointError):
    """A loss, or gradients, that are not finite, found in all processes before the weights have changed."""

    def __init__(self, findings: Findings):
        self.findings = findings
        what = "loss" if not math.isfinite(findings.total) else "gradient"
        terms = ", ".join(f"{name} {value:.4g}" for name, value in findings.losses.items())
        super().__init__(f"the {what} is not finite: {terms}, gradient norm {findings.gradient_norm:.4g}")


class Step:
    """`step(batch, ...)` runs the model on this process's share of a batch and changes its weights once.

    Args:
        model: batch -> losses by name, each a mean; in several processes `DistributedDataParallel`.
        loss_weight: how many things the losses of such a list are means over.
        clip: clips gradients in place and returns the norm of all of them before.
        autocast: what the model computes in where that does no harm; float16 with scaled losses. None: as it is.
        accumulate: micro-batches that the share is cut into; a step needs the memory of one of them.
        after_backward: called when all gradients are there.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        loss_weight: Callable[[Batch], float],
        clip: Callable[[], Tensor],
        autocast: torch.dtype | None = None,
        accumulate: int = 1,
        after_backward: Callable[[], None] = lambda: None,
    ):
        self.model, self.optimizer, self.loss_weight, self.clip = model, optimizer, loss_weight, clip
        self.autocast, self.accumulate, self.after_backward = autocast, accumulate, after_backward
        self.device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=autocast == torch.float16)

    def __call__(self, batch: Batch, data_time: float, stop: bool = False) -> Findings:
        """Train on `batch`, for which this process waited `data_time` seconds; `stop` is told to the others.

        Raises:
            NotFinite: in all processes.
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
        self.scaler.unscale_(self.optimizer)
        self.after_backward()
        found = self._exchange(losses, self.clip(), data_time, [any("unreadable" in crop for crop in batch), stop])
        if not math.isfinite(found.total) or not (math.isfinite(found.gradient_norm) or found.overflow):
            raise NotFinite(found)
        if found.overflow:
            self.optimizer.zero_grad()  # a step without gradients changes nothing, and schedulers count it
        self.optimizer.step()
        self.scaler.update()
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
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            losses: dict[str, Tensor] = self.model(micro_batch)
        loss = reduce(torch.add, losses.values())
        self.scaler.scale(loss * factor.to(loss)).backward()
        return {name: loss.detach() * factor for name, loss in losses.items()}

    def _exchange(self, losses: dict[str, Tensor], norm: Tensor, data_time: float, flags: Sequence[bool]) -> Findings:
        """Let all processes know what each has found, in one small message; the one wait for the GPU.

        `flags`: whether a crop is unreadable, whether to stop.
        """
        scale = self.scaler.scale(self._number(1))
        numbers = [self._number(number) for number in (data_time, peak_memory(self.device), *flags)]
        row = torch.stack([*losses.values(), norm.double(), scale, *numbers])
        rows = [torch.empty_like(row) for _ in range(comm.get_world_size())]
        if len(rows) > 1:
            dist.all_gather(rows, row)
        else:
            rows = [row]
        *terms, norms, scales, times, memory, unreadable, stops = torch.stack(rows).T.tolist()
        return Findings(
            losses={name: sum(term) / len(rows) for name, term in zip(losses, terms, strict=True)},
            by_process=[dict(zip(losses, term, strict=True)) for term in zip(*terms, strict=True)],
            gradient_norm=norms[0],  # the same in all
            loss_scale=scales[0] if self.scaler.is_enabled() else None,
            data_time=max(times),
            max_memory=max(memory),
            unreadable=any(unreadable),
            stop=any(stops),
        )

    def _number(self, value: float) -> Tensor:
        """A number on the device, without the wait that a copy of it would be."""
        return torch.full((), value, dtype=torch.float64, device=self.device)
