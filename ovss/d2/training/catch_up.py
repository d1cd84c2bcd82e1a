"""What a checkpoint leaves undone of its step, and how a resumed run makes up for it. Imports the seam and files."""

import json
from collections.abc import Mapping
from operator import methodcaller
from pathlib import Path
from typing import Any

from ovss.d2.api import HookBase, comm, hooks
from ovss.d2.watch.progress import SamplePictures
from ovss.files import write_atomic

METRICS = "metrics.json"
_CLOCKS = ("time", "eta_seconds")  # of the run that ended, and not of every step


class CatchUp(HookBase):
    """Lets a resumed run write the numbers and have the evaluations of one that was never broken off.

    A checkpoint is written before its step is evaluated, and numbers are written every `period` steps: its state holds
    those that were not, and the resumed run first does what was left. The first of a trainer's hooks.
    """

    def __init__(self, period: int):
        self.period = period
        self.unwritten = 0  # first iteration of which no number is written
        self._scalars: Mapping[str, Any] | None = None
        self._scores: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        unwritten = self.trainer.iter // self.period * self.period
        storage = self.trainer.storage
        scalars = {
            name: {"smooth": storage.smoothing_hints()[name], "values": history.values()[-self.period :]}
            for name, history in storage.histories().items()
            if history.values()[-1][1] >= unwritten and name not in _CLOCKS
        }
        return {"unwritten": unwritten, "scalars": scalars}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.unwritten, self._scalars = state_dict["unwritten"], state_dict["scalars"]

    def cut(self, folder: Path, start: int, *, prolonged: bool) -> None:
        """Drop from metrics.json what the run, which goes on at iteration `start`, writes again, and half a line.

        For the main process, before writers open it. A `prolonged` run, once complete, keeps the scores of its end.
        """
        if self._scalars is None:  # a checkpoint without a state of this hook
            self.unwritten = start
        if not (folder / METRICS).is_file():
            return
        kept = []
        for line in (folder / METRICS).read_bytes().splitlines(keepends=True):
            scalars = _scalars_of(line)
            iteration = scalars.get("iteration", start + 1)
            if iteration < self.unwritten or (prolonged and iteration == start):
                kept.append(line)
            elif iteration == start - 1:
                self._scores |= {name: value for name, value in scalars.items() if "/" in name}
        write_atomic(folder / METRICS, methodcaller("write", b"".join(kept)))

    def before_train(self) -> None:
        if self._scalars is None:
            return
        storage = self.trainer.storage
        values = ((*value, name) for name, scalar in self._scalars.items() for value in scalar["values"])
        for value, iteration, name in sorted(values, key=lambda value: value[1]):
            storage.iter = iteration
            storage.put_scalar(name, value, smoothing_hint=self._scalars[name]["smooth"])
        self.trainer.iter = storage.iter = self.trainer.start_iter - 1
        evaluated = comm.all_gather(bool(self._scores))[0]  # as the main process has read
        storage.put_scalars(smoothing_hint=False, **self._scores)
        for hook in self.trainer._hooks:
            if isinstance(hook, SamplePictures | hooks.PeriodicWriter) or (
                isinstance(hook, hooks.EvalHook) and not evaluated
            ):
                hook.after_step()
        self.trainer.iter = storage.iter = self.trainer.start_iter

    def after_train(self) -> None:
        """Detectron2's trainer counts one too many where no step was left."""
        self.trainer.iter = min(self.trainer.iter, self.trainer.max_iter)
        self.trainer.storage.iter = self.trainer.iter


def _scalars_of(line: bytes) -> dict[str, float]:
    """What a line of metrics.json holds; nothing for half a line."""
    try:
        return json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
