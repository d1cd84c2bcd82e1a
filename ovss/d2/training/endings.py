"""How a training run ends: with the packaged model after its last step, or where SIGTERM stops it. Imports the seam."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovss.d2.api import HookBase, comm
from ovss.d2.package import SUFFIX, save_model
from ovss.d2.processes.devices import USER_ERRORS, plain_message
from ovss.d2.processes.stop import Stopped
from ovss.d2.training.checkpoints import Checkpoints

logger = logging.getLogger(__name__)


@contextmanager
def failure_logged() -> Iterator[None]:
    """Leaves in the log why training has failed: a user's mistake in one line, anything else with its traceback.

    For both engines: lite logs no failure, and Detectron2's trainer the traceback of a mistake, too.
    """
    engine = logging.getLogger("detectron2.engine.train_loop")

    def no_failure(record: logging.LogRecord) -> bool:
        return record.exc_info is None

    engine.addFilter(no_failure)
    try:
        yield
    except Exception as error:
        mistake = isinstance(error, USER_ERRORS)
        logger.error(f"training has failed: {plain_message(error)}", exc_info=not mistake)
        raise
    finally:
        engine.removeFilter(no_failure)


class PackageModel(HookBase):
    """Writes the packaged model after the last step. For the main process, after the hook that writes checkpoints."""

    def before_train(self) -> None:
        if self.trainer.start_iter == self.trainer.max_iter:  # the run was killed after the last step
            self._write()

    def after_step(self) -> None:
        if self.trainer.iter + 1 == self.trainer.max_iter:
            self._write()

    def _write(self) -> None:
        model = getattr(self.trainer.model, "module", self.trainer.model)
        path = Path(self.trainer.cfg.OUTPUT_DIR) / "model_final"
        save_model(f"{path}{SUFFIX}", model, self.trainer.cfg)
        logger.info(f"trained model: {path}.pth to train on, {path}{SUFFIX} to use and to pass on, config inside")


class StopTogether(HookBase):
    """Stops all processes after a step in which one was asked to stop, which sets `together`.

    For every process, after what steps learning rates and writes checkpoints, before what evaluates; `checkpoints` is
    that of the main process. After the last step nothing is left but an evaluation, which SIGTERM ends by itself.
    """

    def __init__(self, checkpoints: Checkpoints | None = None):
        self.checkpoints, self.together = checkpoints, False

    def after_step(self) -> None:
        if self.together and self.trainer.iter + 1 < self.trainer.max_iter:
            raise Stopped

    def keep(self) -> None:
        """Where `Stopped` ends training: write a checkpoint of the step that has ended, unless that was the last."""
        if self.checkpoints is not None and self.trainer.iter + 1 < self.trainer.max_iter:
            self.checkpoints.save()
            logger.warning(f"SIGTERM has stopped training after iteration {self.trainer.iter}: go on with --resume")
        if self.together:
            comm.synchronize()  # a process that ends earlier would have the others stopped
