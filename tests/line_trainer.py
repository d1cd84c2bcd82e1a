"""A model of three numbers and what trains it, by the seam's trainer and by hand."""

import itertools
import json
import math
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from ovss.d2 import api
from ovss.d2.training.checkpoints import Checkpoints
from ovss.d2.training.schedule import LRScheduler
from ovss.d2.training.step import Step

RECORDS = [{"x": [float(i % 3), float(i % 4)], "y": float(i % 5)} for i in range(12)]


class Fit(nn.Module):
    """Fits y by a line in x; two losses."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, records):
        x, y = (torch.tensor([record[key] for record in records]) for key in "xy")
        return {"loss_fit": (self.line(x)[:, 0] - y).square().mean(), "loss_size": self.line.weight.square().sum() / 9}


class Trainer(api.DefaultTrainer):
    """Trains on the same four records at every step; a weight is its score."""

    @cached_property
    def step(self):
        norm = partial(nn.utils.clip_grad_norm_, [*self.model.parameters()], math.inf)
        return Step(model=self.model, optimizer=self.optimizer, loss_weight=len, clip=norm)

    @cached_property
    def batches(self):
        return iter(self.data_loader)

    def run_step(self):
        for name, value in self.step(next(self.batches), data_time=0.0).scalars().items():
            self.storage.put_scalar(name, value)

    @classmethod
    def build_model(cls, cfg):
        torch.manual_seed(3)
        return Fit()

    @classmethod
    def build_optimizer(cls, cfg, model):
        return torch.optim.AdamW(model.parameters(), cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY)

    @classmethod
    def build_train_loader(cls, cfg):
        return itertools.repeat(RECORDS[:4])

    def build_hooks(self):
        return usual_hooks(self, api.hooks, api.JSONWriter)

    @classmethod
    def test(cls, cfg, model):
        return {"drawn": {"weight": model.line.weight[0, 0].item()}}


def usual_hooks(trainer, hooks, json_writer):
    """Those of Detectron2's own trainer, from either engine."""
    cfg, folder = trainer.cfg, Path(trainer.cfg.OUTPUT_DIR)
    built = [hooks.IterationTimer(), LRScheduler()]
    if api.comm.is_main_process():
        built.append(Checkpoints(folder, cfg.SOLVER.CHECKPOINT_PERIOD))
    built.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, lambda: trainer.test(cfg, trainer.model)))
    if api.comm.is_main_process():
        folder.mkdir(exist_ok=True)
        built.append(hooks.PeriodicWriter([json_writer(str(folder / "metrics.json"))]))
    return built


def resume(trainer, path):
    """Go on after a checkpoint, as `resume_or_load` of Detectron2's trainer does; lite leaves it to its subclass."""
    content = torch.load(path, weights_only=True)
    trainer.model.load_state_dict(content["model"])
    trainer.load_state_dict(content["trainer"])
    trainer.start_iter = trainer.iter + 1


def settings(folder, **solver):
    cfg = api.get_cfg()
    cfg.OUTPUT_DIR, cfg.MODEL.DEVICE = str(folder), "cpu"
    cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.BASE_LR = "WarmupCosineLR", 0, 0.1
    for key, value in solver.items():
        cfg.SOLVER[key] = value
    return cfg


def parameters(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def by_hand(cfg, steps=None):
    """The same training written out: the model, and loss and learning rate of every step."""
    torch.manual_seed(3)
    model = Fit()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=cfg.SOLVER.WEIGHT_DECAY)
    losses, rates = [], []
    for step in range(cfg.SOLVER.MAX_ITER if steps is None else steps):
        rates.append(cfg.SOLVER.BASE_LR * 0.5 * (1 + math.cos(math.pi * step / cfg.SOLVER.MAX_ITER)))
        optimizer.param_groups[0]["lr"] = rates[-1]
        loss = sum(model(RECORDS[:4]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses, rates


def json_lines(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


class Notes(api.HookBase):
    """Notes every call with the iteration."""

    def __init__(self, events):
        self.events = events

    def note(self, moment):
        self.events.append((moment, self.trainer.iter))

    def before_train(self):
        self.note("before_train")

    def before_step(self):
        self.note("before_step")

    def after_step(self):
        self.note("after_step")

    def after_train(self):
        self.note("after_train")
