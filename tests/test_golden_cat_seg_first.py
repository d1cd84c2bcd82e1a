"""Parity of the first version with the authors' code: expected tensors for the weights of golden_weights.py and photos.

The committed excerpt: both backbones, and ResNet-101 with ViT-B/16 on scikit-image's photos, 5 classes of 80 prompts.
More is in test_golden_cat_seg_first_full.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from golden_cat_seg import PADDING, TEXT_GUIDANCE, VOC, close, encode, published, rule_state, run, views

from cat_seg.backbone import build_backbone
from cat_seg.d2 import build_cat_seg
from cat_seg.guidance import BackboneGuidance
from cat_seg.released_names import CLIP as CLIP_NAME
from cat_seg.released_names import released_name
from ovss import hub
from ovss.clip.keys import from_openai_keys, to_openai_keys
from ovss.clip.model import CLIP, architecture_config

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def golden():
    return np.load(ROOT / "tests/golden/cat_seg_first.npz")


@pytest.fixture(scope="module")
def base():
    return published("r101")[1]


@torch.no_grad()
@pytest.mark.parametrize(("name", "key"), [("resnet101", "r101"), ("swin_base", "swinb")])
def test_backbones(golden, name, key):
    guidance = BackboneGuidance(backbone=build_backbone(name, 384, 0.0), resolution=384).eval()
    names = {own: released_name(f"guidance.{own}") for own in guidance.state_dict()}
    shapes = {names[own]: tuple(value.shape) for own, value in guidance.state_dict().items()}
    released = rule_state(shapes)
    guidance.load_state_dict({own: released[name] for own, name in names.items()})
    images = views(skimage.data.astronaut(), "plain")
    for level, found in zip(("res4", "res3", "res2"), guidance(None, images, PADDING["plain"]), strict=True):
        assert list(found.shape) == list(golden[f"{key}/{level}/shape"])
        values = found.numpy().ravel()[golden[f"{key}/{level}/idx"]]
        close(values, golden[f"{key}/{level}/val"], relative=5e-5)


@pytest.mark.slow
def test_text(base, golden):
    """80 prompts per class, each a unit vector; synonyms are averaged prompt by prompt."""
    close(encode(base, VOC[:2], "imagenet", "average")[:, ::16].numpy(), golden["text"])
    words = ["wall", "building, edifice", "signboard, sign"]
    found = encode(base, words, "imagenet", "average")
    close(found.norm(dim=-1).numpy(), np.ones((3, 80), np.float32))
    close(found[:, ::20].transpose(0, 1).numpy(), golden["synonyms"])


@pytest.mark.slow
def test_answers(base, golden):
    """A square photo, one that the plain path pads, its windows, and text guidance that is strong enough to show."""
    text = encode(base, VOC[:5], "imagenet", "average")
    astronaut, chelsea = skimage.data.astronaut(), skimage.data.chelsea()
    weight = base.get_parameter(TEXT_GUIDANCE)
    cases = [
        ("astronaut_plain5", astronaut, "plain", 1),
        ("chelsea_plain", chelsea, "plain", 1),
        ("chelsea_sw", chelsea, "sw", 1),
        ("tg100", astronaut, "plain", 100),
    ]
    for key, image, mode, factor in cases:
        weight.data *= factor
        logits, answer = run(base, image, text, mode)
        weight.data /= factor
        close(logits[..., ::8, ::8], golden[f"{key}/logits_stride8"])
        close(answer[:, ::32, ::32], golden[f"{key}/sem_seg_stride32"].astype(np.float32), absolute=1e-3)
    moved = golden["tg100/logits_stride8"] - golden["astronaut_plain5/logits_stride8"]
    assert np.abs(moved).max() > 1e-3


@pytest.mark.full
@torch.no_grad()
def test_dense_vit_h(shared):
    """ViT-H-14 of the first version's config: its names, the position table resized once, dense features, text."""
    expected = np.load(shared / "golden/catseg_v1_openclip_vith.npz")
    keys = json.loads((shared / "golden/catseg_v1_openclip_vith_keys.json").read_text())["keys"]
    with torch.device("meta"):
        clip = CLIP(architecture_config("ViT-H-14"))
    shapes = {CLIP_NAME + key: tuple(value.shape) for key, value in to_openai_keys(clip.state_dict()).items()}
    state = {key.removeprefix(CLIP_NAME): value for key, value in rule_state(shapes).items()}
    clip.load_state_dict(from_openai_keys(state), assign=True)
    model = build_cat_seg(hub.load(str(ROOT / "configs/cat_seg/vith_swinb.yaml")), clip, prompts=80)
    names = to_openai_keys(clip.state_dict())
    assert {key: list(value.shape) for key, value in names.items()} == dict(keys)

    def compare(name, values):
        assert list(values.shape) == list(expected[f"probe/{name}/shape"])
        close(values.numpy().ravel()[expected[f"probe/{name}/idx"]], expected[f"probe/{name}/val"])

    compare("pos_embed_resized", clip.visual.positional_embedding)
    image = torch.from_numpy(expected["image_uint8"])[None] / 255
    features = clip.visual(model.prepare(image), positions=model.positions, rules={-1: model.last_block})
    compare("dense_features", torch.cat([features.class_token[:, None], features.patches], dim=1))
    text = clip.text(torch.from_numpy(expected["tokens"].astype(np.int64)))
    close(F.normalize(text, dim=-1).numpy(), expected["text_2cls_4tmpl"])
