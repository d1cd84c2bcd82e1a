"""Released checkpoints: names, round trip, and every way in which a file may not fit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cat_seg_parts import small_images, small_model, small_text

from cat_seg.checkpoint import from_released, load_checkpoint, to_released
from cat_seg.d2 import build_cat_seg
from cat_seg.swin import shift_mask
from ovss import hub
from ovss.clip.model import CLIP, architecture_config

ROOT = Path(__file__).parent.parent
MASK = "sem_seg_head.predictor.transformer.layers.0.swin_block.block_2.attn_mask"
HEAD = "sem_seg_head.predictor.transformer.head.weight"


@pytest.fixture
def model(small_clip):
    return small_model(small_clip)


@pytest.mark.parametrize(("config", "golden"), [("vitb_384", "vitb"), ("vitl_336", "vitl")])
def test_names_and_shapes_are_the_released_ones(shared, config, golden):
    cfg = hub.load(str(ROOT / f"configs/cat_seg/{config}.yaml"))
    with torch.device("meta"):
        released = to_released(build_cat_seg(cfg, CLIP(architecture_config(cfg.MODEL.CLIP.NAME)), prompts=1))
    expected = json.loads((shared / f"golden/catseg_{golden}_keys.json").read_text())["keys"]
    assert {key: list(value.shape) for key, value in released.items()} == {key: shape for key, shape, _ in expected}


def test_mask_is_the_released_one(shared):
    expected = np.load(shared / "golden/catseg_vitb.npz")["attn_mask_layer0_block2"]
    assert shift_mask((24, 24), 12, 6, torch.device("cpu")).tolist() == expected.astype(float).tolist()


def test_round_trip_is_exact(model, tmp_path):
    released = {key: value.clone() for key, value in to_released(model).items()}
    answer = model(small_images(), small_text(3))
    torch.save({"model": released, "iteration": 79999}, tmp_path / "model_final.pth")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_checkpoint(model, tmp_path / "model_final.pth")
    assert torch.equal(model(small_images(), small_text(3)), answer)
    again = to_released(model)
    assert again.keys() == released.keys()
    assert all(torch.equal(again[key], released[key]) for key in released)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_own_names(model, tmp_path, prefix):
    torch.save({prefix + key: value for key, value in model.state_dict().items()}, tmp_path / "own.pth")
    load_checkpoint(model, tmp_path / "own.pth")
    torch.save({prefix + "head": torch.zeros(1)}, tmp_path / "own.pth")
    with pytest.raises(ValueError, match=r"own.pth are not those of this CAT-Seg: \d+ missing .* 1 unknown"):
        load_checkpoint(model, tmp_path / "own.pth")


def change(released, what):
    if what == "missing":
        del released[HEAD]
    elif what == "unknown":
        released["sem_seg_head.predictor.transformer.extra"] = torch.zeros(1)
    elif what == "shape":
        released[HEAD] = torch.zeros(1, 32, 3, 3)
    else:
        released[MASK] = torch.zeros_like(released[MASK])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", f"1 missing (such as {HEAD})"),
        ("unknown", "1 unknown (such as sem_seg_head.predictor.transformer.extra)"),
        ("shape", f"1 of another shape (such as {HEAD} is (1, 32, 3, 3) in the file, (1, 16, 3, 3) in the model)"),
        ("mask", f"{MASK} is not that of this model's windows"),
    ],
)
def test_what_does_not_fit(model, what, message):
    released = to_released(model)
    change(released, what)
    with pytest.raises(ValueError, match=re.escape(message)):
        from_released(model, released)


def test_a_hostile_file_is_not_run(model, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    torch.save({"model": Hostile()}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: holds something else than tensors"):
        load_checkpoint(model, tmp_path / "model.pth")
    assert not (tmp_path / "touched").exists()
