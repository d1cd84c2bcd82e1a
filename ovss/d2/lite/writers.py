"""Where the events of a training run go: the log, a file of JSON lines, TensorBoard. Imports torch and the events."""

import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from typing import Any

import torch

from ovss.d2.lite.events import EventStorage, get_event_storage
from ovss.d2.lite.file_io import PathManager

logger = logging.getLogger(__name__)


class EventWriter:
    """Takes events from the open EventStorage and writes them; `write` is called every few iterations."""

    def write(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Write nothing more."""


class _ScalarWriter(EventWriter):
    """A writer of scalars, smoothed over `window_size` iterations where their hint says so, each iteration once."""

    def __init__(self, window_size: int):
        self.window_size = window_size
        self._last_write = -1

    def new_scalars(self) -> Iterator[tuple[str, float, int]]:
        """(name, value, iteration) of what has come since the last call."""
        latest = get_event_storage().latest_with_smoothing_hint(self.window_size)
        before = self._last_write
        for name, (value, iteration) in latest.items():
            if iteration > before:
                self._last_write = max(self._last_write, iteration)
                yield name, value, iteration


class JSONWriter(_ScalarWriter):
    """Adds one line of JSON per iteration to a file: {"iteration": 19, "lr": 0.01, "total_loss": 1.5}."""

    def __init__(self, json_file: str, window_size: int = 20):
        super().__init__(window_size)
        self._file = PathManager.open(json_file, "a")

    def write(self) -> None:
        lines: dict[int, dict[str, float]] = defaultdict(dict)
        for name, value, iteration in self.new_scalars():
            lines[iteration][name] = value
        for iteration, scalars in lines.items():
            self._file.write(json.dumps({**scalars, "iteration": iteration}, sort_keys=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorboardXWriter(_ScalarWriter):
    """Writes scalars and pictures to TensorBoard files in `log_dir`; further arguments are SummaryWriter's."""

    def __init__(self, log_dir: str, window_size: int = 20, **arguments: Any):
        super().__init__(window_size)
        self._arguments = {"log_dir": log_dir, **arguments}

    @cached_property
    def _writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        return SummaryWriter(**self._arguments)

    def write(self) -> None:
        for name, value, iteration in self.new_scalars():
            self._writer.add_scalar(name, value, iteration)
        storage = get_event_storage()
        for name, image, iteration in storage.images:
            self._writer.add_image(name, image, iteration)
        storage.clear_images()

    def close(self) -> None:
        if "_writer" in vars(self):  # else nothing came, and a file is not worth its making
            self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs a line of progress: time to go, iteration, median losses, seconds per iteration, learning rate, memory."""

    def __init__(self, max_iter: int | None = None, window_size: int = 20):
        self.max_iter, self.window_size = max_iter, window_size

    def write(self) -> None:
        storage = get_event_storage()
        if storage.iter == self.max_iter:  # after the last iteration there is no progress to tell
            return
        parts = [*self._time_to_go(storage), f"iter: {storage.iter}", *self._losses(storage)]
        for name in ("time", "data_time"):
            if name in storage.histories():
                history = storage.history(name)
                parts.append(f"{name}: {history.avg(storage.count_samples(name, self.window_size)):.4f}")
                parts.append(f"last_{name}: {history.latest():.4f}")
        if "lr" in storage.histories():
            parts.append(f"lr: {storage.history('lr').latest():.5g}")
        if torch.cuda.is_available():
            parts.append(f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M")
        logger.info("  ".join(parts))

    def _losses(self, storage: EventStorage) -> list[str]:
        return [
            f"{name}: {history.median(storage.count_samples(name, self.window_size)):.4g}"
            for name, history in storage.histories().items()
            if "loss" in name
        ]

    def _time_to_go(self, storage: EventStorage) -> list[str]:
        """The estimate, recorded too; nothing before the first step that was timed."""
        if self.max_iter is None or "time" not in storage.histories():
            return []
        seconds = storage.history("time").median(1000) * (self.max_iter - storage.iter - 1)
        storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
        return [f"eta: {timedelta(seconds=int(seconds))}"]
