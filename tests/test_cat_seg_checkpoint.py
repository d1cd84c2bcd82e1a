"""Released checkpoints: names, round trip, and every way in which a file may not fit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cat_seg_parts import small_first_model, small_images, small_model, small_text

from cat_seg.backbone import build_backbone
from cat_seg.checkpoint import from_released, load_checkpoint, to_released
from cat_seg.d2 import build_cat_seg
from cat_seg.swin import shift_mask
from ovss import hub
from ovss.clip.model import CLIP, architecture_config
from ovss.templates import prompt_set

ROOT = Path(__file__).parent.parent
MASK = "sem_seg_head.predictor.transformer.layers.0.swin_block.block_2.attn_mask"
HEAD = "sem_seg_head.predictor.transformer.head.weight"


@pytest.fixture
def model(small_clip):
    return small_model(small_clip)


@pytest.mark.parametrize(
    ("config", "golden"),
    [("vitb_384", "vitb"), ("vitl_336", "vitl"), ("vitb_r101", "v1_r101"), ("vitl_swinb", "v1_swinb")],
)
def test_names_and_shapes_are_the_released_ones(shared, config, golden):
    cfg = hub.load(str(ROOT / f"configs/cat_seg/{config}.yaml"))
    prompts = len(prompt_set(cfg.MODEL.TEXT.PROMPTS))
    with torch.device("meta"):
        released = to_released(build_cat_seg(cfg, CLIP(architecture_config(cfg.MODEL.CLIP.NAME)), prompts))
    expected = json.loads((shared / f"golden/catseg_{golden}_keys.json").read_text())["keys"]
    found = {key: (list(value.shape), str(value.dtype).removeprefix("torch.")) for key, value in released.items()}
    assert found == {key: (shape, dtype) for key, shape, dtype in expected}


def test_mask_is_the_released_one(shared):
    expected = np.load(shared / "golden/catseg_vitb.npz")["attn_mask_layer0_block2"]
    assert shift_mask((24, 24), 12, 6).tolist() == expected.astype(float).tolist()


@pytest.fixture(params=["", "resnet101", "swin_base"])
def any_model(small_clip, request):
    """Of either version; the first with its real backbones."""
    if not request.param:
        return small_model(small_clip)
    return small_first_model(small_clip, backbone=build_backbone(request.param, 128, 0.0))


@torch.no_grad()
def test_round_trip_is_exact(any_model, tmp_path):
    model = any_model
    released = {key: value.clone() for key, value in to_released(model).items()}
    answer = model(small_images(), small_text(3))
    torch.save({"model": released, "iteration": 79999}, tmp_path / "model_final.pth")
    for value in model.state_dict().values():
        value.zero_()
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


SWIN_INDEX = "backbone.layers.1.blocks.0.attn.relative_position_index"


@pytest.mark.parametrize("own_names", [False, True])
def test_the_other_version(small_clip, tmp_path, own_names):
    """A file of one version under a config of the other names the config to take."""
    second = small_model(small_clip)
    first = small_first_model(small_clip, backbone=build_backbone("resnet101", 128, 0.0))
    names = "first version with ResNet-101", "second version"
    for model, other, found, expected, config in (
        (second, first, *names, "vitb_r101.yaml"),
        (first, second, *reversed(names), "vitb_384.yaml"),
    ):
        torch.save(other.state_dict() if own_names else to_released(other), tmp_path / "model.pth")
        message = f"they are of the {found}, the config is of the {expected}; take configs/cat_seg/{config}"
        with pytest.raises(ValueError, match=f"model.pth are not those of this CAT-Seg: {message}"):
            load_checkpoint(model, tmp_path / "model.pth")


def test_other_tables_of_relative_positions(small_clip):
    model = small_first_model(small_clip, backbone=build_backbone("swin_base", 128, 0.0))
    released = to_released(model)
    assert released[SWIN_INDEX].dtype == torch.int64
    # Rows of 2 * 12 - 1 offsets: two places one column apart are one index apart, one row apart 23.
    assert (released[SWIN_INDEX][0, :2] - released[SWIN_INDEX][0, 1:3]).tolist() == [1, 1]
    assert int(released[SWIN_INDEX][0, 0] - released[SWIN_INDEX][0, 12]) == 23
    released[SWIN_INDEX] = released[SWIN_INDEX].T
    with pytest.raises(ValueError, match=f"{SWIN_INDEX} is not that of this model's windows"):
        from_released(model, released)


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
