"""The training loop: model, optimizer, schedule and loader of a config, with hooks around every step. Imports torch."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ovss.d2.lite import comm, hooks, modeling
from ovss.d2.lite.checkpoint import DetectionCheckpointer
from ovss.d2.lite.events import EventStorage
from ovss.d2.lite.lr_scheduler import build_lr_scheduler
from ovss.d2.lite.parallel import create_ddp_model

logger = logging.getLogger(__name__)


class DefaultTrainer:
    """Trains the model of a config for SOLVER.MAX_ITER steps; a subclass says how to load and optimize, and what
    happens around every step.

    `iter` is the step now running. Checkpoints hold "model" and "trainer" (step, optimizer, hooks), as Detectron2's.
    """

    storage: EventStorage

    def __init__(self, cfg: CfgNode):
        self.cfg = cfg
        model = self.build_model(cfg)
        self.optimizer = self.build_optimizer(cfg, model)
        self.data_loader = self.build_train_loader(cfg)
        self.model = create_ddp_model(model).train()
        self.scheduler = self.build_lr_scheduler(cfg, self.optimizer)
        self.checkpointer = DetectionCheckpointer(self.model, cfg.OUTPUT_DIR, trainer=self)
        self.iter = self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self._hooks: list[hooks.HookBase] = []
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        model = modeling.build_model(cfg)
        logger.info(f"model:\n{model}")
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> Optimizer:
        raise NotImplementedError(f"{cls.__name__} must define build_optimizer(cfg, model)")

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        """An iterable of batches, lists of mapped records; at least as many as there are steps."""
        raise NotImplementedError(f"{cls.__name__} must define build_train_loader(cfg)")

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
        return build_lr_scheduler(cfg, optimizer)

    def build_hooks(self) -> list[hooks.HookBase]:
        """What happens around every step, in this order."""
        raise NotImplementedError(f"{type(self).__name__} must define build_hooks()")

    def register_hooks(self, hooks: Sequence[hooks.HookBase | None]) -> None:
        """Add hooks, called in this order after those that are there."""
        for hook in filter(None, hooks):
            hook.trainer = self
            self._hooks.append(hook)

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint in OUTPUT_DIR, or, where there is none or not `resume`, load MODEL.WEIGHTS."""
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if resume and self.checkpointer.has_checkpoint():
            self.start_iter = self.iter + 1

    def train(self) -> None:
        """Run steps `start_iter` to `max_iter`."""
        logger.info(f"training from iteration {self.start_iter} to {self.max_iter}")
        self.iter = self.start_iter
        with EventStorage(self.start_iter) as self.storage:
            try:
                self._call_hooks("before_train")
                for iteration in range(self.start_iter, self.max_iter):
                    self.iter = self.storage.iter = iteration
                    self._call_hooks("before_step")
                    self.run_step()
                    self._call_hooks("after_step")
                self.iter = max(self.start_iter, self.max_iter)
            finally:
                self.storage.iter = self.iter
                self._call_hooks("after_train")

    def after_backward(self) -> None:
        """For `run_step` to call when all gradients are there."""
        self._call_hooks("after_backward")

    def _call_hooks(self, moment: str) -> None:
        for hook in self._hooks:
            getattr(hook, moment)()

    def run_step(self) -> None:
        """One step of the optimizer on the sum of the model's losses for one batch."""
        assert self.model.training, "the model was left in evaluation mode"
        start = time.perf_counter()
        batch = next(self._batches)
        data_time = time.perf_counter() - start
        losses: dict[str, Tensor] = self.model(batch)
        self.optimizer.zero_grad()
        reduce(torch.add, losses.values()).backward()
        self._record(losses, data_time)
        self.optimizer.step()

    @cached_property
    def _batches(self) -> Iterator:
        return iter(self.data_loader)

    def _record(self, losses: Mapping[str, Tensor], data_time: float) -> None:
        """Record the losses, means over the processes, and the longest wait for data.

        Raises:
            FloatingPointError: a loss that is not finite, in all processes, before it can spoil the weights.
        """
        everyone = comm.all_gather({"data_time": data_time, **{name: loss.item() for name, loss in losses.items()}})
        means = {name: float(np.mean([one[name] for one in everyone])) for name in losses}
        total = sum(means.values())
        if not np.isfinite(total):
            raise FloatingPointError(f"the loss is not finite at iteration {self.iter}: {means}")
        waited = max(one["data_time"] for one in everyone)
        for name, value in {"data_time": waited, "total_loss": total, **(means if len(means) > 1 else {})}.items():
            self.storage.put_scalar(name, value)

    def state_dict(self) -> dict[str, Any]:
        states = {type(hook).__qualname__: hook.state_dict() for hook in self._hooks}
        return {
            "iteration": self.iter,
            "hooks": {name: state for name, state in states.items() if state},
            "_trainer": {"iteration": self.iter, "optimizer": self.optimizer.state_dict()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.iter = state_dict["iteration"]
        self.optimizer.load_state_dict(state_dict["_trainer"]["optimizer"])
        present = {type(hook).__qualname__: hook for hook in self._hooks}
        for name, state in state_dict.get("hooks", {}).items():
            if name in present:
                present[name].load_state_dict(state)
            else:
                logger.warning(f"the checkpoint has the state of a hook {name}, which this run has not")
