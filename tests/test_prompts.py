"""Learned prompts of the image tower: where they go, what they change, that they train and are exported."""

import copy

import pytest
import torch
from cat_seg_parts import small_images, small_model, small_text
from test_cat_seg_d2 import ROOT, settings
from test_cat_seg_training import crops, segmentor

from cat_seg.checkpoint import load_checkpoint, to_released
from cat_seg.d2 import build_cat_seg
from cat_seg.training import set_trainable
from ovss import hub
from ovss.clip.image import value_only

RELEASED = "sem_seg_head.predictor.clip_model.visual.transformer.prompt_tokens"


@pytest.fixture
def tower(small_clip):
    """Four blocks, width 64, three prompts in each of the first two."""
    tower = copy.deepcopy(small_clip.visual)
    torch.manual_seed(0)
    tower.add_prompts(2, 3)
    return tower


@pytest.fixture
def model(small_clip):
    clip = copy.deepcopy(small_clip)
    torch.manual_seed(0)
    clip.visual.add_prompts(4, 3)
    return small_model(clip)


@torch.no_grad()
def test_prompts_by_hand(tower):
    """Put in behind the class token, exchanged for those of the second block, there to the end, in no output."""
    images = small_images(2, (32, 40))
    prompts = tower.prompt_tokens
    assert prompts.shape == (2, 3, 64)
    x, _ = tower.embed(images, "bicubic")
    x = tower.resblocks[0](torch.cat([x[:, :1], prompts[0].repeat(2, 1, 1), x[:, 1:]], dim=1))
    first = torch.cat([x[:, :1], x[:, 4:]], dim=1)
    x = torch.cat([x[:, :1], prompts[1].repeat(2, 1, 1), x[:, 4:]], dim=1)
    for block in tower.resblocks[1:]:
        x = block(x)
    expected = tower.ln_post(torch.cat([x[:, :1], x[:, 4:]], dim=1)) @ tower.proj
    found = tower(images, layers=[0])
    assert torch.equal(found.layers[0], first)
    assert torch.equal(found.class_token, expected[:, 0])
    assert torch.equal(found.patches, expected[:, 1:])


@torch.no_grad()
def test_prompts_change_what_attends(tower, small_clip):
    """All tokens of an image see them; where the last block attends to nothing, its own prompts change nothing."""
    images = small_images(1, (32, 32))
    assert not torch.allclose(tower(images).patches, small_clip.visual(images).patches)
    full = copy.deepcopy(small_clip.visual)
    full.add_prompts(4, 3)
    before = full(images, rules={-1: value_only}).patches
    full.prompt_tokens[3] += 1
    assert torch.equal(full(images, rules={-1: value_only}).patches, before)
    assert not torch.allclose(full(images).patches, before)


def test_a_tower_without_has_no_tensor_for_them(small_clip):
    assert small_clip.visual.prompt_tokens is None
    assert "prompt_tokens" not in small_clip.visual.state_dict()
    x = torch.zeros(1, 2, 3)
    assert small_clip.visual.with_prompts(x, 0) is small_clip.visual.without_prompts(x) is x


@pytest.mark.parametrize(("depth", "length"), [(0, 3), (5, 3), (2, 0)])
def test_prompts_that_do_not_fit(small_clip, depth, length):
    with pytest.raises(ValueError, match=f"{length} prompts in {depth} blocks: give at least one, in 1 to 4 blocks"):
        copy.deepcopy(small_clip.visual).add_prompts(depth, length)


@pytest.mark.parametrize(("mode", "trains"), [("prompt", True), ("full", True), ("attention", False), ("none", False)])
def test_in_which_modes_they_train(model, mode, trains):
    set_trainable(model, mode)
    trained = {name for name, parameter in model.clip.named_parameters() if parameter.requires_grad}
    assert ("visual.prompt_tokens" in trained) == trains
    if mode == "prompt":
        assert trained == {"visual.prompt_tokens"}
    assert all(parameter.requires_grad for parameter in model.aggregator.parameters())


def test_nothing_to_train(small_clip):
    with pytest.raises(ValueError, match="CLIP_FINETUNE 'prompt', but there are no prompts: set PROMPT_LENGTH"):
        set_trainable(small_model(small_clip), "prompt")


def test_every_trained_parameter_gets_a_gradient(model):
    segmentor(model, "prompt")(crops(2))["loss_sem_seg"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    gradient = model.clip.visual.prompt_tokens.grad.abs().amax(dim=(1, 2))
    assert (gradient[:3] > 0).all()
    assert gradient[3] == 0, "the published last block attends to nothing"


@torch.no_grad()
def test_released_name_and_round_trip(model, tmp_path):
    answer = model(small_images(), small_text(3))
    released = to_released(model)
    assert released[RELEASED].shape == (4, 3, 64)
    torch.save({"model": {key: value.clone() for key, value in released.items()}}, tmp_path / "model.pth")
    model.clip.visual.prompt_tokens.zero_()
    assert not torch.equal(model(small_images(), small_text(3)), answer)
    load_checkpoint(model, tmp_path / "model.pth")
    assert torch.equal(model(small_images(), small_text(3)), answer)


@pytest.mark.parametrize(("length", "expected"), [("5", (3, 5, 64)), ("0", None)])
def test_the_config_adds_them(small_clip, length, expected):
    opts = settings(PROMPT_LENGTH=length, PROMPT_DEPTH="3")
    cfg = hub.load(str(ROOT / "configs/cat_seg/vitb_384.yaml"), opts)
    prompts = build_cat_seg(cfg, copy.deepcopy(small_clip), 1).clip.visual.prompt_tokens
    assert (None if prompts is None else tuple(prompts.shape)) == expected
