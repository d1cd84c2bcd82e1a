"""Writing checkpoints: each whole or not at all, the newest few or all of them. Imports torch, files and the seam."""

import logging
from collections.abc import Mapping
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from ovss.d2.api import HookBase
from ovss.d2.training.resume import LAST, checkpoints
from ovss.files import write_atomic

logger = logging.getLogger(__name__)
FINAL = "model_final.pth"


class Checkpoints(HookBase):
    """Writes model_<iteration>.pth every `period` iterations and model_final.pth after the last, into OUTPUT_DIR.

    For the main process, after the hook that steps the learning rates. Both engines read the files: Detectron2's
    layout. With `keep`, so many model_<iteration>.pth of most iterations stay, also of those found on a resume.
    """

    def __init__(self, folder: str | Path, period: int, keep: int | None = None):
        self.folder, self.period, self.keep = Path(folder), period, keep

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self.period == 0:
            self.save()
        if done == self.trainer.max_iter:
            self._write(FINAL)

    def save(self) -> None:
        """Write the checkpoint of the step that has ended, and remove those that are not kept."""
        name = f"model_{self.trainer.iter:07d}.pth"
        self._write(name)
        if self.keep is not None:
            # After going back by hand, those of later iterations are another run's.
            numbered = [path for path in checkpoints(self.folder) if path.name <= name]
            for path in numbered[: -self.keep]:
                path.unlink(missing_ok=True)

    def _write(self, name: str) -> None:
        """Write a file, then name it in last_checkpoint: what stood there before serves until all is on the disk."""
        path = self.folder / name
        model = getattr(self.trainer.model, "module", self.trainer.model)
        content = {"model": model.state_dict(), "trainer": self.trainer.state_dict(), "iteration": self.trainer.iter}
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            write_atomic(path, partial(_save, content), durable=True)
            write_atomic(self.folder / LAST, methodcaller("write", name.encode()), durable=True)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from error
        logger.info(f"checkpoint written to {path}")


def _save(content: Mapping[str, Any], file: BinaryIO) -> None:
    """torch.save, whose error of a full disk says nothing of the disk."""
    noting = _Noting(file)
    try:
        torch.save(content, cast(BinaryIO, noting))  # all that it calls is write and flush
    except RuntimeError:
        if noting.error is not None:
            raise noting.error from None
        raise


class _Noting:
    """A file that keeps the error of the system at which writing it failed."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
