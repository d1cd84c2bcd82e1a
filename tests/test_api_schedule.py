"""The seam: learning rates over a run, against values computed by hand, on Detectron2 and on lite alike."""

import pytest
import torch
from torch import nn

from ovss.d2 import api


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        (
            "WarmupMultiStepLR",
            {"MAX_ITER": 10, "STEPS": (6, 8, 99), "GAMMA": 0.1, "WARMUP_ITERS": 4, "WARMUP_FACTOR": 0.2},
            [0.2, 0.4, 0.6, 0.8, 1, 1, 0.1, 0.1, 0.01, 0.01],
        ),
        (
            "WarmupMultiStepLR",
            {"MAX_ITER": 6, "STEPS": (4,), "WARMUP_ITERS": 2, "WARMUP_FACTOR": 0.5, "WARMUP_METHOD": "constant"},
            [0.5, 0.5, 1, 1, 0.1, 0.1],
        ),
        ("WarmupCosineLR", {"MAX_ITER": 4, "WARMUP_ITERS": 0}, [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]),
        (  # a cosine of eighths of a turn on top of the last rate
            "WarmupCosineLR",
            {"MAX_ITER": 4, "WARMUP_ITERS": 0, "BASE_LR_END": 0.4},  # of a rate of 2: a fifth
            [1, 0.2 + 0.8 * (0.5 + 0.5**1.5), 0.6, 0.2 + 0.8 * (0.5 - 0.5**1.5)],
        ),
        (  # joins the cosine half-way, where that is 0.5
            "WarmupCosineLR",
            {"MAX_ITER": 4, "WARMUP_ITERS": 2, "WARMUP_FACTOR": 0.0},
            [0, 0.25, 0.5, 0.5 - 0.5**1.5],
        ),
    ],
)
def test_rates_by_hand(name, keys, expected):
    cfg = api.get_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.BASE_LR = name, 2.0
    for key, value in keys.items():
        cfg.SOLVER[key] = value
    weights = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [weights[0]], "lr": 2.0}, {"params": [weights[1]], "lr": 0.5}])
    scheduler = api.build_lr_scheduler(cfg, optimizer)
    rates = []
    for _ in expected:
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert rates == [pytest.approx([2.0 * value, 0.5 * value]) for value in expected]


def test_unknown_schedules_are_refused():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    cfg = api.get_cfg()
    cfg.SOLVER.WARMUP_METHOD = "quadratic"
    with pytest.raises(ValueError, match="quadratic"):
        api.build_lr_scheduler(cfg, optimizer)
    cfg.SOLVER.LR_SCHEDULER_NAME = "Cosine"
    with pytest.raises(ValueError, match="Cosine"):
        api.build_lr_scheduler(cfg, optimizer)
    cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.BASE_LR_END = "WarmupCosineLR", 1.0  # above the rate at the start
    with pytest.raises((AssertionError, ValueError), match="1"):
        api.build_lr_scheduler(cfg, optimizer)
