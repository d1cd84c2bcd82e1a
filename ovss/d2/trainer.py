"""Training of a config's model: the engine's trainer with this project's optimizer, loader and evaluation."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ovss.clip.keys import misfit
from ovss.clip.weights import find_weights, read_tensors
from ovss.d2.api import (
    CfgNode,
    CommonMetricPrinter,
    DefaultTrainer,
    EventWriter,
    HookBase,
    comm,
    get_event_storage,
)
from ovss.d2.evaluator import evaluate
from ovss.d2.package import SUFFIX, save_model
from ovss.d2.progress import ProgressBar, SamplePictures, in_terminal
from ovss.d2.solver import build_optimizer
from ovss.d2.train_loader import build_train_loader

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """`Trainer(cfg)`, then `resume_or_load(resume)`, then `train()`.

    OUTPUT_DIR gets checkpoints (model_<iteration>.pth, last_checkpoint, model_final.pth), the packaged model
    (model_final.safetensors), metrics.json, TensorBoard files, and `inference/` with the scores of the last evaluation.
    """

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> Optimizer:
        return build_optimizer(cfg, model, on_gradient_norm=_record_gradient_norm)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_train_loader(cfg)

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: None = None) -> Mapping:
        """Scores of every set of DATASETS.TEST. Text is encoded anew: `Segmentor.train` drops what was remembered."""
        return evaluate(cfg, model) if cfg.DATASETS.TEST else {}

    def build_hooks(self) -> list[HookBase]:
        built = super().build_hooks()
        if comm.is_main_process():
            if self.cfg.VIS_PERIOD:
                built.insert(-1, SamplePictures(self.cfg.VIS_PERIOD))  # the last one writes
            if in_terminal():
                built.append(ProgressBar())
        return built

    def build_writers(self) -> list[EventWriter]:
        """Those of the engine; where there is a bar, no lines of progress."""
        writers = super().build_writers()
        return [writer for writer in writers if not (in_terminal() and isinstance(writer, CommonMetricPrinter))]

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on after the last checkpoint in OUTPUT_DIR, where there is one; MODEL.WEIGHTS the model has loaded itself.

        Raises:
            ValueError: a checkpoint that is damaged, or of another model than the config's.
        """
        if not resume:
            return
        if not self.checkpointer.has_checkpoint():
            logger.warning(f"no checkpoint in {self.cfg.OUTPUT_DIR}: training starts anew")
            return
        path = find_weights(self.checkpointer.get_checkpoint_file())
        model = getattr(self.model, "module", self.model)
        if problem := misfit(model.state_dict(), read_tensors(path)):
            raise ValueError(f"checkpoint {path} is not of this config's model: {problem}")
        self.checkpointer.load(str(path))
        self.start_iter = self.iter + 1
        self.data_loader.batch_sampler.start = self.start_iter

    def run_step(self) -> None:
        torch.manual_seed(self.data_loader.dataset.step_seed(self.iter, comm.get_rank()))
        super().run_step()

    def train(self) -> None:
        super().train()
        if comm.is_main_process():
            path = Path(self.cfg.OUTPUT_DIR) / "model_final"
            save_model(f"{path}{SUFFIX}", getattr(self.model, "module", self.model), self.cfg)
            logger.info(f"trained model: {path}.pth to train on, {path}{SUFFIX} to use and to pass on, config inside")


def _record_gradient_norm(norm: Tensor) -> None:
    get_event_storage().put_scalar("gradient_norm", norm.item())
