"""Learning rates over a run: one curve with a warm-up multiplies the rate of every parameter. Imports fvcore, torch."""

from typing import Any

from fvcore.common.config import CfgNode
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
)
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

SCHEDULERS = ("WarmupMultiStepLR", "WarmupCosineLR")
WARMUPS = ("linear", "constant")


class LRMultiplier(LRScheduler):
    """Sets each rate to its initial value times `multiplier(iteration / max_iter)`; `step` once per iteration."""

    def __init__(self, optimizer: Optimizer, multiplier: ParamScheduler, max_iter: int, last_iter: int = -1):
        self._multiplier, self._max_iter = multiplier, max_iter
        super().__init__(optimizer, last_epoch=last_iter)

    def state_dict(self) -> dict[str, Any]:
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def get_lr(self) -> list[Any]:
        multiplier = self._multiplier(self.last_epoch / self._max_iter)
        return [base * multiplier for base in self.base_lrs]


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRMultiplier:
    """The schedule that SOLVER.LR_SCHEDULER_NAME and its neighbours describe.

    Raises:
        ValueError: an unknown schedule or warm-up, or a cosine that would end above its start.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME not in SCHEDULERS:
        raise ValueError(f"unknown SOLVER.LR_SCHEDULER_NAME {solver.LR_SCHEDULER_NAME!r}; known: {SCHEDULERS}")
    curve = _cosine(solver) if solver.LR_SCHEDULER_NAME == "WarmupCosineLR" else _steps(solver)
    return LRMultiplier(optimizer, _with_warmup(curve, solver), solver.MAX_ITER)


def _cosine(solver: CfgNode) -> ParamScheduler:
    if not 0 <= solver.BASE_LR_END <= solver.BASE_LR:
        raise ValueError(
            f"SOLVER.BASE_LR_END {solver.BASE_LR_END} must be between 0 and SOLVER.BASE_LR {solver.BASE_LR}"
        )
    return CosineParamScheduler(1, solver.BASE_LR_END / solver.BASE_LR)


def _steps(solver: CfgNode) -> ParamScheduler:
    milestones = [step for step in solver.STEPS if step <= solver.MAX_ITER]
    values = [solver.GAMMA**power for power in range(len(milestones) + 1)]
    return MultiStepParamScheduler(values, num_updates=solver.MAX_ITER, milestones=milestones)


def _with_warmup(curve: ParamScheduler, solver: CfgNode) -> ParamScheduler:
    """Climb from a share of the curve's first value to the curve, which keeps its own time and is joined on its way."""
    length = min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0)
    start = solver.WARMUP_FACTOR * curve(0.0)
    if solver.WARMUP_METHOD not in WARMUPS:
        raise ValueError(f"unknown SOLVER.WARMUP_METHOD {solver.WARMUP_METHOD!r}; known: {WARMUPS}")
    constant = solver.WARMUP_METHOD == "constant"
    warmup = ConstantParamScheduler(start) if constant else LinearParamScheduler(start, curve(length))
    return CompositeParamScheduler([warmup, curve], [length, 1 - length], ["rescaled", "fixed"])
