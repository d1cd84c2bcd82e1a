"""Stochastic depth crop by crop: a function of the crop's seed alone, at timm's rates, and nothing else draws."""

import pytest
import torch
from cat_seg_parts import small_first_model, small_images, small_model
from test_cat_seg_training import crops, segmentor
from timm.layers import DropPath
from torch import nn

from cat_seg.backbone import SwinBase
from cat_seg.stochastic_depth import StochasticDepth, draw, make_drawable


class Paths(nn.Module):
    """Three paths of rates 0.1, 0.25 and 0.5, each of which adds its power of ten."""

    def __init__(self):
        super().__init__()
        self.paths = nn.ModuleList(nn.ModuleDict({"drop": DropPath(rate)}) for rate in (0.1, 0.25, 0.5))
        self.ones = nn.Parameter(torch.ones(1))
        make_drawable(self)

    def forward(self, count):
        return torch.stack([path["drop"](self.ones.expand(count, 1, 1)).flatten() for path in self.paths], dim=1)


def drawn(model, seeds):
    draw(model, seeds)
    return model(len(seeds)).detach()


def test_a_crop_draws_alike_in_any_batch():
    model = Paths().train()
    whole = drawn(model, range(64))
    torch.manual_seed(1)
    parts = [drawn(model, list(range(64))[start : start + 5]) for start in range(0, 64, 5)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(drawn(model, range(63, -1, -1)), whole.flip(0))
    assert len(whole.unique(dim=0)) > 4


def test_rates_and_scale_are_timms():
    whole = drawn(Paths().train(), range(4000))
    for column, rate in zip(whole.T, (0.1, 0.25, 0.5), strict=True):
        kept = column[column > 0]
        assert kept.unique().tolist() == pytest.approx([1 / (1 - rate)])
        assert len(kept) / len(column) == pytest.approx(1 - rate, abs=0.03)  # 4 deviations at most
    assert torch.corrcoef(whole.T).triu(1).abs().max() < 0.07  # and each path by itself


def test_draws_stay_for_a_repeated_pass_and_go_with_a_crop_without_a_seed():
    model = Paths().train()
    settled = drawn(model, range(20))
    assert torch.equal(model(20), settled)
    assert torch.equal(model.eval()(20), torch.ones(20, 3))
    model.train()
    draw(model, [1, None])
    torch.manual_seed(4)
    found = model(20)
    torch.manual_seed(4)
    theirs = torch.stack([DropPath(rate)(torch.ones(20, 1, 1)).flatten() for rate in (0.1, 0.25, 0.5)], dim=1)
    assert torch.equal(found, theirs)


def test_half_precision_stays_half():
    part = StochasticDepth(0.5)
    draw(nn.Sequential(nn.Linear(1, 1), part), [1, 2])
    assert part(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@torch.no_grad()
def test_swin_of_a_batch_is_swin_of_its_crops():
    torch.manual_seed(0)
    backbone = SwinBase(resolution=128, drop_path=0.9).train()
    images = small_images(3, (128, 128))
    draw(backbone, [5, 6, 7])
    together = backbone(images)
    for index, seed in enumerate((5, 6, 7)):
        draw(backbone, [seed])
        for level, own in zip(together, backbone(images[index : index + 1]), strict=True):
            torch.testing.assert_close(level[index : index + 1], own, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("version", ["second", "first, Swin"])
def test_nothing_else_draws(small_clip, version):
    """Losses of seeded crops under two states of the global generator."""
    if version == "second":
        trained = segmentor(small_model(small_clip))
    else:
        trained = segmentor(small_first_model(small_clip, backbone=SwinBase(resolution=128, drop_path=0.5)))
    batch = [{**crop, "draw_seed": seed} for seed, crop in enumerate(crops(2))]
    losses = []
    for state in (1, 2):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        losses.append(trained(batch)["loss_sem_seg"].item())
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1]
    others = [{**crop, "draw_seed": seed + 9} for seed, crop in enumerate(batch)]
    assert (trained(others)["loss_sem_seg"].item() == losses[0]) == (version == "second")
