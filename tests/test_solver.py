"""Learning rate and decay of every parameter, and clipped gradients: by hand, and against the authors' recipe."""

import json

import pytest
import torch
from small_training import CONFIG
from torch import nn

import cat_seg.d2
from cat_seg.checkpoint import released_name
from ovss import hub
from ovss.clip.model import CLIP, architecture_config
from ovss.d2.api import META_ARCH_REGISTRY
from ovss.d2.training.solver import build_optimizer, clip_gradients, parameter_groups


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(3))


class House(nn.Module):
    """A model with a parameter of every kind."""

    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.model.clip = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.model.outlook = nn.Module()
        self.model.outlook.backbone = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), Table())
        self.model.outlook.backbone_scale = nn.Linear(1, 1, bias=False)
        self.model.head = nn.Sequential(nn.Linear(2, 1), nn.GroupNorm(1, 2), nn.Embedding(3, 2))
        self.model.head[0].bias.requires_grad_(False)


def config(*opts):
    solver = {"BASE_LR": 0.5, "WEIGHT_DECAY": 0.25, "CLIP_MULTIPLIER": 0.125, "BACKBONE_MULTIPLIER": 0.5}
    solver |= {"WEIGHT_DECAY_NORM": 0.0625, "WEIGHT_DECAY_EMBED": 0.03125}
    return hub.load(CONFIG, [word for key, value in solver.items() for word in (f"SOLVER.{key}", str(value))] + [*opts])


def rates_and_decays(model, cfg):
    """Learning rate and decay of each parameter, by its name."""
    found = {}
    for group in parameter_groups(model, cfg):
        assert [*map(id, group["params"])] == [id(model.get_parameter(name)) for name in group["names"]]
        found |= dict.fromkeys(group["names"], (group["lr"], group["weight_decay"]))
    return found


def test_groups_by_hand():
    assert rates_and_decays(House(), config()) == {
        "model.clip.0.weight": (0.0625, 0.25),
        "model.clip.0.bias": (0.0625, 0.25),
        "model.clip.1.weight": (0.0625, 0.0625),
        "model.clip.1.bias": (0.0625, 0.0625),
        "model.outlook.backbone.0.weight": (0.25, 0.25),
        "model.outlook.backbone.1.relative_position_bias_table": (0.25, 0.0),
        "model.outlook.backbone_scale.weight": (0.5, 0.25),
        "model.head.0.weight": (0.5, 0.25),
        "model.head.1.weight": (0.5, 0.0625),
        "model.head.1.bias": (0.5, 0.0625),
        "model.head.2.weight": (0.5, 0.03125),
    }


def test_vitb_trains_what_the_authors_train(shared, monkeypatch):
    """Names and norms of the authors' run; rates and decays of their recipe (2e-4, 1e-4, CLIP a hundredth)."""
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda name, weights: CLIP(architecture_config(name)))
    cfg = hub.load(CONFIG)
    with torch.device("meta"):
        model = META_ARCH_REGISTRY.get("CATSeg")(cfg)
    settings = rates_and_decays(model, cfg)
    trained = {released_name(name.removeprefix("model.")): values for name, values in settings.items()}
    expected = json.loads((shared / "golden/catseg_vitb_keys.json").read_text())["requires_grad"]
    assert set(trained) == set(expected)
    assert len(settings) == len(expected)
    for name, (rate, decay) in trained.items():
        in_clip = ".clip_model." in name
        assert rate == pytest.approx(2e-6 if in_clip else 2e-4), name
        is_norm = "norm" in name or ".double_conv.1." in name or ".double_conv.4." in name
        assert decay == (0 if is_norm else 1e-4), name
    assert sum(".clip_model." in name for name in trained) == 48
    assert len(parameter_groups(model, cfg)) == 3  # CLIP; the rest; its norms


def one_step(cfg, gradients):
    """Change of each of the parameters after a step on these gradients, and their norm."""
    model = nn.Module()
    for index, gradient in enumerate(gradients):
        model.register_parameter(f"p{index}", nn.Parameter(torch.zeros(len(gradient))))
        model.get_parameter(f"p{index}").grad = torch.tensor(gradient)
    norm = clip_gradients(model, cfg.SOLVER.CLIP_GRADIENTS)
    build_optimizer(cfg, model).step()
    return [parameter.tolist() for parameter in model.parameters()], norm.item()


CLIPPING = "SOLVER.CLIP_GRADIENTS"
CLIPPINGS = {
    "full_model": (["True", "full_model", "6.5"], [[-1.5, -2.0], [-6.0]]),  # 13 to 6.5
    "not reached": (["True", "full_model", "20.0"], [[-3.0, -4.0], [-12.0]]),
    "norm": (["True", "norm", "2.5"], [[-1.5, -2.0], [-2.5]]),
    "value": (["True", "value", "3.5"], [[-3.0, -3.5], [-3.5]]),
    "off": (["False", "full_model", "6.5"], [[-3.0, -4.0], [-12.0]]),
}


@pytest.mark.parametrize("case", CLIPPINGS)
def test_clipping_by_hand(case):
    """Gradients (3, 4) and (12,): norms 5 and 12, together 13. SGD with rate 1 steps by the clipped gradient."""
    (enabled, kind, value), expected = CLIPPINGS[case]
    opts = [f"{CLIPPING}.ENABLED", enabled, f"{CLIPPING}.CLIP_TYPE", kind, f"{CLIPPING}.CLIP_VALUE", value]
    cfg = config("SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", "1.0", *opts)
    found, norm = one_step(cfg, [[3.0, 4.0], [12.0]])
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert norm == pytest.approx(13.0)


@pytest.mark.parametrize(("name", "build"), [("ADAMW", torch.optim.AdamW), ("SGD", torch.optim.SGD)])
def test_steps_are_those_of_one_group_for_each_parameter(name, build):
    """Bit for bit, on gradients that are clipped together, in the model's order."""
    torch.manual_seed(0)
    cfg = config("SOLVER.OPTIMIZER", name, f"{CLIPPING}.CLIP_VALUE", "0.5")
    ours, theirs = House(), House()
    theirs.load_state_dict(ours.state_dict())
    optimizer = build_optimizer(cfg, ours)
    assert len(optimizer.param_groups) == 7
    settings = rates_and_decays(theirs, cfg)
    groups = [
        {"params": [theirs.get_parameter(name)], "lr": rate, "weight_decay": decay}
        for name, (rate, decay) in settings.items()
    ]
    plain = build(groups, **({"momentum": cfg.SOLVER.MOMENTUM} if name == "SGD" else {}))
    for _ in range(3):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            if mine.requires_grad:
                mine.grad = torch.randn_like(mine)
                other.grad = mine.grad.clone()
        clip_gradients(ours, cfg.SOLVER.CLIP_GRADIENTS)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step()
        plain.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_mistakes():
    with pytest.raises(ValueError, match=r"unknown SOLVER.OPTIMIZER 'ADAM'; known: ADAMW, SGD"):
        build_optimizer(config("SOLVER.OPTIMIZER", "ADAM"), House())
    with pytest.raises(
        ValueError, match=r"unknown SOLVER.CLIP_GRADIENTS.CLIP_TYPE 'full'; known: full_model, norm, val"
    ):
        build_optimizer(config(f"{CLIPPING}.CLIP_TYPE", "full"), House())
    with pytest.raises(ValueError, match="no parameter of House trains"):
        build_optimizer(config(), House().requires_grad_(False))
