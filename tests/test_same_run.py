"""Which settings a resumed run may change: none of its crops, others with a warning, a machine's own freely."""

import logging
from pathlib import Path

import pytest
from small_training import CONFIG, SMALL, as_opts

from ovss import hub
from ovss.d2.training.same_run import check_same_run, run_facts

PATH = Path("model_0000002.pth")
DATA = {"DATASETS.TRAIN": ("scenes_val",), "DATASETS.TEST": ()}


def facts(seed=7, records=6, **settings):
    keys = {key.replace("__", "."): value for key, value in settings.items()}
    return run_facts(hub.load(CONFIG, as_opts(SMALL, DATA, keys)), seed=seed, records=records)


def test_the_machine_and_the_tests_may_change(caplog):
    now = facts(MODEL__DEVICE="cuda", DATALOADER__NUM_WORKERS=3, INPUT__MIN_SIZE_TEST=99, SOLVER__CHECKPOINT_PERIOD=3)
    assert check_same_run(PATH, facts(), now, 7) == 7
    assert caplog.text == ""


def test_a_drawn_seed_comes_back():
    assert check_same_run(PATH, facts(seed=123), facts(seed=456), -1) == 123


OTHER_CROPS = {
    "batch": ({"SOLVER__IMS_PER_BATCH": 8}, "SOLVER.IMS_PER_BATCH 8, the run had 4"),
    "data": ({"DATASETS__TRAIN": ("x",)}, r"DATASETS.TRAIN \['x'\], the run had \['scenes_val'\]"),
    "seed": ({"seed": 8}, "SEED 8, the run had 7"),
    "pictures": ({"records": 5}, "number of training pictures 5, the run had 6"),
}


@pytest.mark.parametrize("case", OTHER_CROPS)
def test_other_crops_are_refused(case):
    settings, message = OTHER_CROPS[case]
    with pytest.raises(ValueError, match=f"model_0000002.pth is of a run on other crops: {message}. Set them as they"):
        check_same_run(PATH, facts(), facts(**settings), settings.get("seed", 7))


def test_other_settings_are_told(caplog):
    before, now = facts(), facts(SOLVER__MAX_ITER=9, SOLVER__CLIP_GRADIENTS__CLIP_VALUE=0.5)
    before["settings"]["SOLVER.FOREIGN"] = True  # a key of the other engine alone
    with caplog.at_level(logging.INFO):
        check_same_run(PATH, before, now, 7)
    changed, length = caplog.messages
    assert changed.endswith("hold from here on: SOLVER.CLIP_GRADIENTS.CLIP_VALUE 1.0 -> 0.5")
    assert length.startswith("SOLVER.MAX_ITER 9 instead of 4: ")


def test_a_checkpoint_that_does_not_tell(caplog):
    assert check_same_run(PATH, None, facts(seed=5), -1) == 5
    assert "seed, data sets and batch size are not checked" in caplog.text
