"""A step: micro-batches and processes sum to the whole batch, nothing that is not finite reaches the weights."""

import argparse
import json
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ovss.d2.api import comm
from ovss.d2.processes.launch import launch_main
from ovss.d2.training.step import NotFinite, Step


class Line(nn.Module):
    """Fits y by a line in x, over the records that are labelled; two losses, each a mean over these."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(2, 1)

    def forward(self, records):
        labelled = [record for record in records if record["labelled"]]
        if not labelled:
            return dict.fromkeys(("loss_fit", "loss_size"), 0 * self.line(torch.zeros(2)).sum())
        x, y = (torch.tensor([record[key] for record in labelled]) for key in "xy")
        found = self.line(x)[:, 0]
        return {"loss_fit": (found - y).square().mean(), "loss_size": found.abs().mean() / 8}


def labelled(records):
    return float(sum(record["labelled"] for record in records))


def records(count, pattern="1101000101110"):
    return [
        {"x": [float(i % 3), float(i % 4)], "y": float(i % 5), "labelled": pattern[i % len(pattern)] == "1"}
        for i in range(count)
    ]


def gradients(batch, accumulate=1, wrap=lambda model: model):
    """Gradients (3,) of a step on the batch, and what it found."""
    model = Line()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    norm = lambda: nn.utils.clip_grad_norm_(model.parameters(), math.inf)  # noqa: E731
    wrapped = wrap(model).train()
    step = Step(model=wrapped, optimizer=optimizer, loss_weight=labelled, clip=norm, accumulate=accumulate)
    found = step(batch, data_time=0.25)
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]), found


def test_a_loss_is_weighed_by_what_it_is_a_mean_over():
    """One record that is off by 2, three that are off by 1: (4 + 1 + 1 + 1) / 4."""
    model = Line()
    nn.init.zeros_(model.line.weight)
    nn.init.zeros_(model.line.bias)
    batch = [
        {"x": [0.0, 0.0], "y": y, "labelled": known} for y, known in ((2.0, 1), (0.0, 0), *[(1.0, 1)] * 3, (9.0, 0))
    ]
    step = Step(
        model=model.train(),
        optimizer=torch.optim.SGD(model.parameters(), 0.5),
        loss_weight=labelled,
        clip=lambda: torch.tensor(3.0),
        accumulate=3,
    )
    found = step(batch, data_time=0.5)
    assert found.losses == {"loss_fit": 1.75, "loss_size": 0.0}
    scalars = {"data_time": 0.5, "total_loss": 1.75, **found.losses, "gradient_norm": 3.0}
    assert found.scalars() == {**scalars, "max_memory": found.max_memory}
    assert found.max_memory > 50  # MiB; torch alone takes more
    assert model.line.bias.item() == 0.5 * 2 * (2 + 1 + 1 + 1) / 4
    assert not found.stop


@pytest.mark.parametrize("accumulate", [2, 3, 4, 6, 12])
def test_micro_batches_sum_to_the_whole_batch(accumulate):
    """Of unequal weights, some of them 0."""
    whole, found = gradients(records(12))
    parts, cut = gradients(records(12), accumulate)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-7)
    assert cut.losses == pytest.approx(found.losses, rel=1e-6)
    assert cut.gradient_norm == pytest.approx(found.gradient_norm, rel=1e-6)


def test_a_batch_without_a_label_changes_nothing():
    found, losses = gradients(records(4, "0"), accumulate=2)
    assert found.tolist() == [0.0] * 3
    assert losses.total == 0.0


def shared_step(args, device):
    """Top of a module: child processes must find it."""
    rank = comm.get_rank()
    whole, pattern = records(12), "ABBABAABABBA"  # who has which record
    mine = [record for record, owner in zip(whole, pattern, strict=True) if owner == "AB"[rank]]
    found, findings = gradients(mine, accumulate=2, wrap=DistributedDataParallel)
    assert findings.stop is False
    torch.save({"gradients": found, "losses": findings.losses, "norm": findings.gradient_norm}, f"{args.folder}/{rank}")
    model = Line().train()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    step = Step(model=model, optimizer=optimizer, loss_weight=labelled, clip=lambda: torch.tensor(float(rank)))
    told = step(mine, data_time=rank / 2, stop=rank == 1)
    assert (told.stop, told.data_time) == (True, 0.5)  # asked of the other; the longest
    spoiled = [{**mine[0], "labelled": True, "y": math.nan if rank else 0.0}]
    with pytest.raises(NotFinite, match="the loss is not finite: loss_fit nan"):  # in both
        step(spoiled, data_time=0.0)


def test_two_processes_with_two_micro_batches_are_one_with_the_whole_batch(tmp_path):
    args = argparse.Namespace(
        num_gpus=2, num_machines=1, machine_rank=0, dist_url="auto", folder=str(tmp_path), eval_only=False
    )
    launch_main(shared_step, args, "cpu")
    whole, findings = gradients(records(12))
    for rank in "01":
        found = torch.load(tmp_path / rank, weights_only=True)
        torch.testing.assert_close(found["gradients"], whole, rtol=1e-6, atol=1e-7)
        assert found["losses"] == pytest.approx(findings.losses, rel=1e-6)
        assert found["norm"] == pytest.approx(findings.gradient_norm, rel=1e-6)


class Power(nn.Module):
    """The loss is w ** power, at w = `value`, plus 0 times the batch."""

    def __init__(self, value, power):
        super().__init__()
        self.weight, self.power = nn.Parameter(torch.tensor(value)), power

    def forward(self, batch):
        return {"loss": self.weight**self.power}


def one_number(model, **settings):
    optimizer = torch.optim.SGD(model.parameters(), 0.25)
    norm = lambda: model.weight.grad.abs().sum()  # noqa: E731
    return Step(model=model.train(), optimizer=optimizer, loss_weight=len, clip=norm, **settings)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize(
    ("value", "power", "message"),
    [(0.0, 0.5, "the gradient is not finite: loss 0, gradient norm inf"), (-1.0, 0.5, "the loss is not finite")],
)
def test_what_is_not_finite_changes_no_weight(value, power, message, autocast):
    step = one_number(Power(value, power), autocast=autocast)
    with pytest.raises(NotFinite, match=message):
        step([{}], data_time=0.0)
    assert step.model.weight.item() == value


class Slope(nn.Module):
    """The loss is a sum in half precision, of slope 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def forward(self, batch):
        return {"loss": nn.functional.linear(torch.ones(1, 1), self.weight).float().sum()}


def test_float16_finds_its_loss_scale():
    """A gradient of 1 times the first scale, 65536, is more than float16 holds; times the second it is not."""
    step = one_number(Slope(), autocast=torch.float16)
    scheduler = torch.optim.lr_scheduler.ConstantLR(step.optimizer, factor=1.0)
    first = step([{}], data_time=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a scheduler that has met no step
        scheduler.step()
    assert (first.loss_scale, first.overflow, step.model.weight.item()) == (65536.0, True, 0.0)
    assert "gradient_norm" not in first.scalars()
    second = step([{}], data_time=0.0)
    expected = {"data_time": 0.0, "total_loss": 0.0, "loss_scale": 32768.0, "gradient_norm": 1.0}
    assert second.scalars() == {**expected, "max_memory": second.max_memory}
    assert step.model.weight.item() == -0.25
    step.scaler.load_state_dict({**step.scaler.state_dict(), "scale": 1.0})
    step.model.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NotFinite, match="the gradient is not finite"):  # at any scale
        step([{}], data_time=0.0)
    assert json.dumps(step.scaler.state_dict()["scale"]) == "1.0"
