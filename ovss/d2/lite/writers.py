"""Where the events of a training run go: a file of JSON lines. Imports the events."""

import json
from collections import defaultdict

from ovss.d2.lite.events import get_event_storage
from ovss.d2.lite.file_io import PathManager


class EventWriter:
    """Takes events from the open EventStorage and writes them; `write` is called every few iterations."""

    def write(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Write nothing more."""


class JSONWriter(EventWriter):
    """Adds one line of JSON per iteration to a file: {"iteration": 19, "lr": 0.01, "total_loss": 1.5}.

    Scalars are smoothed over `window_size` iterations where their hint says so; each iteration is written once.
    """

    def __init__(self, json_file: str, window_size: int = 20):
        self.window_size = window_size
        self._last_write = -1
        self._file = PathManager.open(json_file, "a")

    def write(self) -> None:
        lines: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(self.window_size).items():
            if iteration > self._last_write:
                lines[iteration][name] = value
        for iteration, scalars in lines.items():
            self._file.write(json.dumps({**scalars, "iteration": iteration}, sort_keys=True) + "\n")
        self._file.flush()
        self._last_write = max(lines, default=self._last_write)

    def close(self) -> None:
        self._file.close()
