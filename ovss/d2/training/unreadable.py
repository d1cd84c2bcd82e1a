"""Training pictures whose files cannot be used: reported once each, and too many end the run. Imports the seam."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ovss.d2.api import comm
from ovss.d2.training.loader import too_many
from ovss.files import write_atomic

logger = logging.getLogger(__name__)


class UnreadablePictures:
    """What was found in this run, the same in all processes.

    The main process logs each once and adds it to `unreadable.txt` in the folder, a line for each, beside what earlier
    runs have found.

    Args:
        folder: of the run.
        limit: how many do not end it.
    """

    def __init__(self, folder: str, limit: int):
        self.path = Path(folder) / "unreadable.txt"
        self.limit = limit
        self.found: dict[str, None] = {}  # a set in order

    def report(self, batch: Iterable[Mapping[str, Any]]) -> None:
        """Take note of what crops of `batch` stand in for; all processes call it, each with its own.

        Raises:
            ValueError: in all of them, where there are more than `limit` now; it names them.
        """
        mine = [message for crop in batch for message in crop.get("unreadable", ())]
        everyone = dict.fromkeys(message for messages in comm.all_gather(mine) for message in messages)
        new = [message for message in everyone if message not in self.found]
        self.found.update(dict.fromkeys(new))
        if new and comm.is_main_process():
            for message in new:
                logger.warning(f"another picture stands in for one that cannot be used: {message}")
            self._write()
        if len(self.found) > self.limit:
            raise ValueError(too_many([*self.found], self.limit))

    def _write(self) -> None:
        before = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        lines = "".join(f"{message}\n" for message in dict.fromkeys([*before, *self.found]))
        write_atomic(self.path, lambda file: file.write(lines.encode()))
