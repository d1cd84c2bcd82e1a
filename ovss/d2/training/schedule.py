"""The schedule of the learning rates, step by step, and the rate that is shown. Imports the seam."""

from typing import Any

from ovss.d2.api import HookBase


class LRScheduler(HookBase):
    """Steps the trainer's scheduler after every step; "lr" is the rate of what trains at SOLVER.BASE_LR.

    Detectron2's shows the largest group's, which of the larger models is CLIP's, a fraction. The name is Detectron2's,
    under which checkpoints hold the scheduler's state.
    """

    def before_train(self) -> None:
        rates, base = self.trainer.scheduler.base_lrs, self.trainer.cfg.SOLVER.BASE_LR
        self._group = rates.index(base) if base in rates else rates.index(max(rates))

    def after_step(self) -> None:
        rate = self.trainer.optimizer.param_groups[self._group]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)
        self.trainer.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.trainer.scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.trainer.scheduler.load_state_dict(state_dict)
