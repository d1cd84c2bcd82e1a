"""The seam: training, on Detectron2 and on lite alike; a plain loop of torch is the reference."""

import itertools
import math

import pytest
import torch
from line_trainer import RECORDS, Notes, Trainer, by_hand, json_lines, parameters, resume, settings
from torch import nn

from ovss.d2 import api
from ovss.d2.processes.launch import launch_main

pytestmark = pytest.mark.usefixtures("restored_loggers")


def test_training_equals_a_plain_loop_exactly(tmp_path):
    cfg = settings(tmp_path, MAX_ITER=25)
    trainer = Trainer(cfg)
    trainer.train()
    assert torch.equal(parameters(trainer.model), parameters(by_hand(cfg)[0]))
    score = trainer.model.line.weight[0, 0].item()
    assert json_lines(tmp_path)[-1] == {"iteration": 25, "drawn/weight": pytest.approx(score)}


class Failing(Trainer):
    """Fails before its fifth step."""

    def run_step(self):
        if self.iter == 4:
            raise RuntimeError("the power is gone")
        super().run_step()


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path):
    cfg = settings(tmp_path, MAX_ITER=7, CHECKPOINT_PERIOD=3)
    broken = Failing(cfg)
    events = []
    broken.register_hooks([Notes(events)])
    with pytest.raises(RuntimeError, match="power"):
        broken.train()
    assert events[-2:] == [("before_step", 4), ("after_train", 4)]
    assert not any("drawn/weight" in line for line in json_lines(tmp_path))
    resumed = Trainer(cfg)
    resume(resumed, tmp_path / "model_0000002.pth")
    resumed.train()
    assert torch.equal(parameters(resumed.model), parameters(by_hand(cfg)[0]))
    whole = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert whole["iteration"] == whole["trainer"]["iteration"] == 6


def test_a_loss_that_is_not_finite_ends_training_before_it_spoils_the_weights(tmp_path):
    class Spoiled(Trainer):
        @classmethod
        def build_train_loader(cls, cfg):
            good = RECORDS[:4]
            return iter([good, good, [{"x": [1.0, 1.0], "y": math.nan}], good])

    trainer = Spoiled(settings(tmp_path, MAX_ITER=4))
    with pytest.raises(FloatingPointError, match="loss_fit nan"):
        trainer.train()
    model, _, _ = by_hand(settings(tmp_path, MAX_ITER=4), steps=2)
    assert torch.equal(parameters(trainer.model), parameters(model))


class Sharing(Trainer):
    """Trains on another four records at each step, every process on its share of them."""

    @classmethod
    def build_model(cls, cfg):
        model = super().build_model(cfg)
        if api.comm.get_rank():
            nn.init.ones_(model.line.weight)  # all start from the main process's weights nevertheless
        return model

    @classmethod
    def build_train_loader(cls, cfg):
        rank, processes = api.comm.get_rank(), api.comm.get_world_size()
        return (RECORDS[4 * step :][:4][rank::processes] for step in itertools.cycle(range(3)))

    @classmethod
    def test(cls, cfg, model):
        return {}


def train_shared(args, device):
    """Top of a module: child processes must find it."""
    trainer = Sharing(settings(args.folder, MAX_ITER=5))
    trainer.train()
    everyone = api.comm.all_gather(parameters(trainer.model))
    assert all(torch.equal(one, everyone[0]) for one in everyone)


@pytest.mark.slow
def test_two_processes_train_as_one_on_the_whole_batch(tmp_path):
    for processes in (1, 2):
        args = api.default_argument_parser().parse_args(["--num-gpus", str(processes)])
        args.folder = str(tmp_path / str(processes))
        launch_main(train_shared, args, "cpu")
    one, two = (torch.load(tmp_path / name / "model_final.pth", weights_only=True) for name in "12")
    torch.testing.assert_close(two["model"], one["model"])
    losses = [[line["total_loss"] for line in json_lines(tmp_path / name) if "total_loss" in line] for name in "12"]
    assert losses[0] == pytest.approx(losses[1])
