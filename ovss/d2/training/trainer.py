"""Training of a config's model: the engine's trainer with this project's optimizer, loader and evaluation."""

import logging
import time
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ovss.d2.api import CfgNode, DefaultTrainer, EventWriter, HookBase, comm, hooks
from ovss.d2.evaluator import NotWrittenError, build_evaluation, evaluate
from ovss.d2.processes.stop import Stopped, sigterm_noted, stop_requested
from ovss.d2.training.catch_up import CatchUp
from ovss.d2.training.checkpoints import Checkpoints
from ovss.d2.training.endings import PackageModel, StopTogether, failure_logged
from ovss.d2.training.loader import build_train_loader
from ovss.d2.training.not_finite import keep_not_finite
from ovss.d2.training.precision import autocast_dtype, with_engine_amp
from ovss.d2.training.resume import newest_checkpoint, read_checkpoint
from ovss.d2.training.same_run import check_same_run, run_facts
from ovss.d2.training.schedule import LRScheduler
from ovss.d2.training.solver import build_optimizer, clip_gradients
from ovss.d2.training.step import NotFinite, Step
from ovss.d2.training.unreadable import UnreadablePictures
from ovss.d2.watch.progress import ProgressBar, SamplePictures, in_terminal
from ovss.d2.watch.writers import build_writers, check_writers

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """`Trainer(cfg)`, then `resume_or_load(resume)`, then `train()`; `keep` is that of `Checkpoints`.

    OUTPUT_DIR gets checkpoints (model_<iteration>.pth, last_checkpoint, model_final.pth), the packaged model
    (model_final.safetensors), metrics.json, TensorBoard files, and `inference/` with the scores of the last evaluation.
    """

    def __init__(self, cfg: CfgNode, *, keep: int | None = None):
        check_writers(cfg)
        self.keep = keep
        super().__init__(with_engine_amp(cfg, False))  # the step has it
        self.cfg = with_engine_amp(self.cfg, cfg.SOLVER.AMP.ENABLED)
        self.step = self._build_step()
        self.unreadable = UnreadablePictures(cfg.OUTPUT_DIR, cfg.DATALOADER.MAX_UNREADABLE)
        if cfg.DATASETS.TEST:
            build_evaluation(cfg, self.model)  # a mistake in it ends the run now, not after the last step

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_train_loader(cfg)

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: None = None) -> Mapping:
        """Scores of every set of DATASETS.TEST. Text is encoded anew: `Segmentor.train` drops what was remembered.

        A file of results that cannot be written does not end a training.
        """
        try:
            return evaluate(cfg, model) if cfg.DATASETS.TEST else {}
        except NotWrittenError as error:
            logger.error(error)
            return error.results

    def build_hooks(self) -> list[HookBase]:
        """What is kept comes before what evaluates, which may fail or be interrupted; `train` adds what writes."""

        def evaluate_now() -> Mapping:
            self._last_eval_results = self.test(self.cfg, self.model)  # Detectron2's own compares them, where asked to
            return self._last_eval_results

        self.catch_up = CatchUp(self.cfg.LOG_PERIOD)
        built: list[HookBase] = [self.catch_up, hooks.IterationTimer(), LRScheduler()]
        self._stop = StopTogether()
        if comm.is_main_process():
            checkpoints = Checkpoints(self.cfg.OUTPUT_DIR, self.cfg.SOLVER.CHECKPOINT_PERIOD, self.keep)
            self._stop = StopTogether(checkpoints)
            built += [checkpoints, PackageModel()]
        built += [self._stop, hooks.EvalHook(self.cfg.TEST.EVAL_PERIOD, evaluate_now)]
        if comm.is_main_process() and self.cfg.VIS_PERIOD:
            built.append(SamplePictures(self.cfg.VIS_PERIOD))
        if comm.is_main_process() and in_terminal():
            built.append(ProgressBar())
        return built

    def build_writers(self) -> list[EventWriter]:
        return build_writers(self.cfg, self.catch_up.unwritten)

    def _build_step(self) -> Step:
        """Raises ValueError for a SOLVER.ACCUMULATE or SOLVER.AMP that cannot be."""
        solver, share = self.cfg.SOLVER, self.data_loader.batch_sampler.share
        if solver.ACCUMULATE < 1 or share % solver.ACCUMULATE:
            raise ValueError(
                f"SOLVER.ACCUMULATE {solver.ACCUMULATE} must divide the {share} crops of each process's batch "
                f"(SOLVER.IMS_PER_BATCH {solver.IMS_PER_BATCH}, {comm.get_world_size()} processes)"
            )
        model: Any = getattr(self.model, "module", self.model)
        return Step(
            model=self.model,
            optimizer=self.optimizer,
            loss_weight=model.loss_weight,
            clip=partial(clip_gradients, model, solver.CLIP_GRADIENTS),
            autocast=autocast_dtype(self.cfg, model.device),
            accumulate=solver.ACCUMULATE,
            after_backward=self.after_backward,
        )

    def train(self) -> None:
        """Train to the end, or until SIGTERM: then a checkpoint of the last step is written.

        Raises:
            Stopped: by SIGTERM; in all processes after the same step, or in an evaluation, which it ends at once.
            SystemExit: with code 1; a loss or gradients were not finite, see `keep_not_finite`.
        """
        if comm.is_main_process():
            self.register_hooks([hooks.PeriodicWriter(self.build_writers(), self.cfg.LOG_PERIOD)])
        with failure_logged(), sigterm_noted():
            try:
                super().train()
            except Stopped:
                self._stop.keep()
                raise

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on after the newest checkpoint in OUTPUT_DIR, if there is one; MODEL.WEIGHTS the model has loaded itself.

        Raises:
            ValueError: checkpoints that are all damaged, or one that this config cannot go on from.
        """
        if not resume:
            return
        folder = Path(self.cfg.OUTPUT_DIR)
        found = newest_checkpoint(folder)
        path, content = found or (None, {})
        everywhere = comm.all_gather(path and path.name)
        if len(set(everywhere)) > 1:
            raise ValueError(f"OUTPUT_DIR {folder} holds other checkpoints for other processes: {everywhere}: share it")
        if path is None:
            logger.warning(f"no checkpoint in {folder}: training starts anew")
            return
        model = getattr(self.model, "module", self.model)
        tensors, state = read_checkpoint(path, content, model=model, optimizer=self.optimizer, max_iter=self.max_iter)
        stream = self.data_loader.dataset
        stream.seed = check_same_run(path, state.get("run"), self._facts(), self.cfg.SEED)
        model.load_state_dict(tensors)
        self.load_state_dict(state)
        for group, rate in zip(self.optimizer.param_groups, self.scheduler.get_lr(), strict=True):
            group["lr"] = rate  # the checkpoint's is of its own MAX_ITER
        logger.info(f"going on from {path}")
        self.start_iter = self.iter + 1
        self.data_loader.batch_sampler.start = self.start_iter
        if comm.is_main_process():
            ended = state.get("run", {}).get("max_iter") == self.start_iter
            self.catch_up.cut(folder, self.start_iter, prolonged=ended and self.start_iter < self.max_iter)

    def _facts(self) -> dict[str, Any]:
        stream = self.data_loader.dataset
        return run_facts(self.cfg, seed=stream.seed, records=len(stream.records))

    @cached_property
    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        return iter(self.data_loader)

    def run_step(self) -> None:
        """One step, on both engines. What the model draws in it is a function of the seed and of the step."""
        torch.manual_seed(self.data_loader.dataset.step_seed(self.iter, comm.get_rank()))
        start = time.perf_counter()
        batch = next(self._batches)
        waited = time.perf_counter() - start
        try:
            found = self.step(batch, waited, stop_requested())
        except NotFinite as error:
            first, seed = self.data_loader.batch_sampler.first(self.iter), self.data_loader.dataset.seed
            keep_not_finite(error, batch, folder=self.cfg.OUTPUT_DIR, iteration=self.iter, seed=seed, first=first)
            raise SystemExit(1) from error
        self._stop.together = found.stop
        for name, value in found.scalars().items():
            self.storage.put_scalar(name, value, smoothing_hint=name not in ("loss_scale", "max_memory"))
        if found.unreadable:
            self.unreadable.report(batch)

    def state_dict(self) -> dict[str, Any]:
        """In Detectron2's layout; what is of the step in it is the project's."""
        state = {**super().state_dict(), "run": self._facts()}
        state["_trainer"]["iteration"] = self.iter
        if self.step.scaler.is_enabled():
            state["_trainer"]["grad_scaler"] = self.step.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if scaler := state_dict["_trainer"].get("grad_scaler"):
            self.step.scaler.load_state_dict(scaler)
