"""The line of progress in the log, the same on either engine. Imports the seam."""

import logging
from collections.abc import Iterator
from datetime import timedelta

from ovss.d2.api import EventStorage, EventWriter, get_event_storage

logger = logging.getLogger(__name__)
HIGH_WAIT = 0.2  # share of a step's time, spent waiting for data, above which a run is told which key to raise


class ProgressLine(EventWriter):
    """Logs a line about the last `window` steps; warns, once, where they waited long for data.

    Losses and the norm of the gradients are medians, times are means over the steps that were timed. "pictures/s" is of
    all processes together, `batch` pictures a step. "max_mem" is in MiB, see `ovss.d2.watch.memory`.
    """

    def __init__(self, max_iter: int, *, window: int, batch: int):
        self.max_iter, self.window, self.batch = max_iter, window, batch
        self._last = -1  # iteration of the last line
        self._warned = False

    def write(self) -> None:
        storage = get_event_storage()
        if "total_loss" not in storage.histories():
            return
        iteration = storage.latest()["total_loss"][1]
        if iteration > self._last:  # else nothing has come but scores
            self._last = iteration
            timed = "time" in storage.histories()
            eta = [self._time_to_go(storage, iteration)] if timed else []
            times = self._times(storage) if timed else ()
            logger.info("  ".join([*eta, f"iter: {iteration}", *self._values(storage), *times]))

    def _time_to_go(self, storage: EventStorage, iteration: int) -> str:
        seconds = storage.history("time").median(1000) * (self.max_iter - iteration - 1)
        storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
        return f"eta: {timedelta(seconds=int(seconds))}"

    def _values(self, storage: EventStorage) -> Iterator[str]:
        smooth, latest = storage.latest_with_smoothing_hint(self.window), storage.latest()
        losses = (name for name in latest if "loss" in name and name not in ("total_loss", "loss_scale"))
        for name in ("total_loss", *losses, "gradient_norm"):
            if name in latest:
                yield f"{name}: {smooth[name][0]:.4g}"
        for name in ("lr", "loss_scale"):
            if name in latest:
                yield f"{name}: {latest[name][0]:.5g}"
        if "max_memory" in latest:
            yield f"max_mem: {latest['max_memory'][0]:.0f}M"

    def _times(self, storage: EventStorage) -> Iterator[str]:
        count = storage.count_samples("time", self.window)
        step = storage.history("time").avg(count)
        yield f"time: {step:.4f}"
        if "data_time" in storage.histories():
            waited = storage.history("data_time").avg(count)
            yield f"data_time: {waited:.4f}"
            self._warn_of_waiting(waited / step)
        yield f"pictures/s: {self.batch / step:.4g}"

    def _warn_of_waiting(self, share: float) -> None:
        if share > HIGH_WAIT and not self._warned:
            self._warned = True
            logger.warning(f"{share:.0%} of a step goes by waiting for data: raise DATALOADER.NUM_WORKERS")
