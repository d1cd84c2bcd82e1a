"""Training: what only lite promises alone: clear errors."""

import pytest
import torch
from line_trainer import RECORDS, Fit, settings

from ovss.d2.lite import transforms as T
from ovss.d2.lite.config import get_cfg
from ovss.d2.lite.trainer import DefaultTrainer


def test_what_a_trainer_leaves_open_is_named():
    with pytest.raises(NotImplementedError, match="DefaultTrainer must define build_optimizer"):
        DefaultTrainer.build_optimizer(get_cfg(), None)
    with pytest.raises(NotImplementedError, match="build_train_loader"):
        DefaultTrainer.build_train_loader(get_cfg())


def test_an_unknown_kind_of_crop_is_refused():
    with pytest.raises(ValueError, match="'square'; known: relative, "):
        T.RandomCrop("square", (3, 3))


def test_a_state_of_an_absent_hook_is_warned_of(tmp_path, caplog):
    methods = {
        "build_model": classmethod(lambda cls, cfg: Fit()),
        "build_optimizer": classmethod(lambda cls, cfg, model: torch.optim.AdamW(model.parameters(), 0.1)),
        "build_train_loader": classmethod(lambda cls, cfg: iter(RECORDS)),
        "build_hooks": lambda self: [],
    }
    trainer = type("Fitting", (DefaultTrainer,), methods)(settings(tmp_path))
    state = trainer.state_dict()
    state["hooks"]["Magic"] = {"power": 1}
    trainer.load_state_dict(state)
    assert "hook Magic" in caplog.text
