"""What happens around the steps of a training run: timing, evaluation, writing.

A hook sees its trainer as `self.trainer`. Imports lite's own.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ovss.d2.lite import comm
from ovss.d2.lite.writers import EventWriter

if TYPE_CHECKING:
    from ovss.d2.lite.trainer import DefaultTrainer

logger = logging.getLogger(__name__)


class HookBase:
    """Called by the trainer: once before and after training, and before and after every step; `state_dict` is saved.

    `after_train` is called after a failure too; training went to its end where `trainer.iter == trainer.max_iter`.
    """

    trainer: "DefaultTrainer"

    def before_train(self) -> None: ...

    def after_train(self) -> None: ...

    def before_step(self) -> None: ...

    def after_backward(self) -> None: ...

    def after_step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class IterationTimer(HookBase):
    """Records the seconds of every step as "time" but those of the first, which are slower; logs the speed at the end.

    Its place is before all other hooks, so that it times the steps alone.
    """

    def __init__(self, warmup_iter: int = 3):
        self.warmup_iter = warmup_iter

    def before_train(self) -> None:
        self._train_start = time.perf_counter()
        self._seconds: list[float] = []

    def before_step(self) -> None:
        self._step_start = time.perf_counter()

    def after_step(self) -> None:
        seconds = time.perf_counter() - self._step_start
        if self.trainer.iter - self.trainer.start_iter + 1 >= self.warmup_iter:
            self._seconds.append(seconds)
            self.trainer.storage.put_scalar("time", seconds)

    def after_train(self) -> None:
        total = timedelta(seconds=int(time.perf_counter() - self._train_start))
        if self._seconds:
            mean = sum(self._seconds) / len(self._seconds)
            logger.info(f"training took {total}, hooks included; {mean:.4f} s per iteration without them")


class EvalHook(HookBase):
    """Calls a function that evaluates, every `eval_period` iterations (0: never) and after the last, in all processes.

    Its nested dict of numbers is recorded as scalars "data set/metric".
    """

    def __init__(self, eval_period: int, eval_function: Callable[[], Mapping], eval_after_train: bool = True):
        self._period, self._function, self._after_train = eval_period, eval_function, eval_after_train

    def _evaluate(self) -> None:
        self.trainer.storage.put_scalars(smoothing_hint=False, **_flatten(self._function() or {}))
        comm.synchronize()  # the others wait for the main process, rather than in the middle of their next step

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if self._period > 0 and done % self._period == 0 and done != self.trainer.max_iter:
            self._evaluate()

    def after_train(self) -> None:
        if self._after_train and self.trainer.iter >= self.trainer.max_iter:
            self._evaluate()


def _flatten(results: Mapping, prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in results.items():
        flat |= _flatten(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": float(value)}
    return flat


class PeriodicWriter(HookBase):
    """Lets writers write every `period` iterations and after the last, and closes them."""

    def __init__(self, writers: Sequence[EventWriter], period: int = 20):
        self._writers, self._period = writers, period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        for writer in self._writers:
            writer.write()  # what other hooks have recorded since
            writer.close()
