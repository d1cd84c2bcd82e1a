"""The training loop: model, optimizer, schedule and loader of a config, with hooks around every step. Imports torch."""

import logging
from collections.abc import Sequence
from typing import Any

from fvcore.common.config import CfgNode
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ovss.d2.lite import hooks, modeling
from ovss.d2.lite.events import EventStorage
from ovss.d2.lite.lr_scheduler import build_lr_scheduler
from ovss.d2.lite.parallel import create_ddp_model

logger = logging.getLogger(__name__)


class DefaultTrainer:
    """Trains the model of a config for SOLVER.MAX_ITER steps; a subclass says how to load and optimize, and what
    happens around every step.

    `iter` is the step now running. `state_dict` (step, optimizer, hooks) has the layout of Detectron2's.
    """

    storage: EventStorage

    def __init__(self, cfg: CfgNode):
        self.cfg = cfg
        model = self.build_model(cfg)
        self.optimizer = self.build_optimizer(cfg, model)
        self.data_loader = self.build_train_loader(cfg)
        self.model = create_ddp_model(model).train()
        self.scheduler = self.build_lr_scheduler(cfg, self.optimizer)
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
        """One step of the optimizer, which puts its scalars into `storage`."""
        raise NotImplementedError(f"{type(self).__name__} must define run_step()")

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
