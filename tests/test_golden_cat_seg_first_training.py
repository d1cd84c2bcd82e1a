"""Parity of one training step of the first version with the authors' code: what trains, how fast, and where it goes."""

import json

import numpy as np
import pytest
import skimage.data
import torch
from golden_cat_seg import TEXT_GUIDANCE, VOC, published

from cat_seg.backbone import SwinBase
from cat_seg.checkpoint import rename
from cat_seg.d2 import CATSeg
from cat_seg.released_names import CLIP, released_name
from cat_seg.training import set_trainable
from ovss.d2.mapper import InputTransform
from ovss.d2.training.solver import build_optimizer, clip_gradients, parameter_groups
from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary

pytestmark = pytest.mark.slow


class Step:
    """The model of a config in training, and what the authors' code has for it."""

    def __init__(self, shared, name):
        self.cfg, self.model = published(name, shared / f"golden/catseg_v1_{name}_keys.json")
        self.expected = np.load(shared / f"golden/catseg_v1_{name}.npz")
        self.extra = np.load(shared / f"golden/catseg_v1_{name}_extra.npz")
        self.numbers = json.loads((shared / f"golden/catseg_v1_{name}_train.json").read_text())
        node = self.cfg.MODEL.CAT_SEG
        set_trainable(self.model, node.CLIP_FINETUNE, backbone=self.cfg.SOLVER.BACKBONE_MULTIPLIER > 0)
        self.segmentor = CATSeg(
            model=self.model,
            ignore_label=255,
            ignored_as_negative=True,
            prompts=prompt_set(self.cfg.MODEL.TEXT.PROMPTS),
            average_prompts=False,
            synonyms=self.cfg.MODEL.TEXT.SYNONYMS,
        )
        self.words = json.loads((shared / "samples/class_texts/coco.json").read_text())[:8]

    def trained(self):
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def loss(self, words, stochastic_depth=False):
        self.segmentor.train()
        self.model.guidance.backbone.train(stochastic_depth)
        return self.segmentor([crop(self.expected, words)])["loss_sem_seg"]

    def gradients(self, words):
        """Loss of one pass, and all gradients under the released names."""
        self.model.zero_grad()
        loss = self.loss(words)
        loss.backward()
        return loss.item(), rename(self.model, {name: value.grad for name, value in self.trained().items()})


def crop(expected, words):
    """A crop of the photo with made-up labels of these classes, as the expected steps had it."""
    resized = InputTransform(min_size=640, max_size=2560)(skimage.data.astronaut()).transpose(2, 0, 1)
    image = np.ascontiguousarray(resized[:, :384, 32:416])
    assert (image[:, ::4, ::4] == expected["train/crop_stride4"]).all()
    y, x = np.mgrid[:384, :384]
    labels = ((y // 48) * 8 + x // 48) % len(words)
    labels[(y + x) % 97 < 9] = 255
    return {
        "image": torch.from_numpy(image),
        "sem_seg": torch.from_numpy(labels),
        "vocabulary": Vocabulary.from_words(words),
    }


@pytest.fixture(scope="module", params=["r101", "swinb"])
def step(request, shared):
    return Step(shared, request.param)


def check_gradients(found, expected, key):
    """The stored values and norms of some gradients."""
    names = {name.removeprefix(f"{key}/grad_norm/") for name in expected.files if name.startswith(f"{key}/grad_norm/")}
    assert len(names) > 15
    for name in names:
        gradient, probe = found[name], f"probe/{key}/grad/{name}"
        # Softmax does not see the key's bias, so its gradient is rounding noise.
        assert gradient.norm().item() == pytest.approx(expected[f"{key}/grad_norm/{name}"].item(), rel=1e-3, abs=1e-8)
        values = gradient.numpy().ravel()[expected[f"{probe}/idx"]]
        assert np.abs(values - expected[f"{probe}/val"]).max() <= 1e-3 * expected[f"{probe}/stat"][2] + 1e-8, name


def test_groups(step):
    """Learning rate and weight decay of every parameter that trains."""
    found = {
        released_name(name.removeprefix("model."), first_version=True): [group["lr"], group["weight_decay"]]
        for group in parameter_groups(step.segmentor, step.cfg)
        for name in group["names"]
    }
    expected = step.numbers["groups_name_lr_wd"]
    assert set(found) == set(step.numbers["requires_grad"]) == expected.keys()
    for name, settings in found.items():
        assert settings == pytest.approx(expected[name], rel=1e-12, abs=0), name


def test_one_step(step):
    assert (crop(step.expected, step.words)["sem_seg"].numpy() == step.expected["train/label"]).all()
    loss, gradients = step.gradients(step.words)
    assert loss == pytest.approx(step.numbers["loss"], rel=1e-5)
    assert gradients.keys() == step.numbers["grad_norms"].keys()
    for name, norm in step.numbers["grad_norms"].items():
        assert gradients[name].norm().item() == pytest.approx(norm, rel=1e-3, abs=1e-8), name
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm().item()
    assert total == pytest.approx(step.numbers["total_grad_norm"], rel=1e-3)
    check_gradients(gradients, step.expected, "train")
    last = len(step.model.clip.visual.resblocks) - 1
    parts = gradients[f"{CLIP}visual.transformer.resblocks.{last}.attn.in_proj_weight"].chunk(3)
    norms = step.expected["train/last_block_in_proj_qkv_gradnorm"]
    assert [part.norm().item() for part in parts] == pytest.approx(norms, rel=1e-3, abs=0)


def test_values_after_one_step(step):
    """AdamW moves a value by about its learning rate; where its gradient is near 0, rounding shows most."""
    step.gradients(step.words)
    before = {name: value.detach().clone() for name, value in step.trained().items()}
    clip_gradients(step.segmentor, step.cfg.SOLVER.CLIP_GRADIENTS)
    build_optimizer(step.cfg, step.segmentor).step()
    after = rename(step.model, {name: value.detach().clone() for name, value in step.trained().items()})
    for name, value in before.items():
        step.model.get_parameter(name).data.copy_(value)
    names = {key.split("/")[3] for key in step.expected.files if key.startswith("probe/train/after_step/")}
    assert len(names) > 20
    for name in names:
        key = f"probe/train/after_step/{name}"
        values = after[name].numpy().ravel()[step.expected[f"{key}/idx"]]
        rate, _ = step.numbers["groups_name_lr_wd"][name]
        assert np.abs(values - step.expected[f"{key}/val"]).max() <= 1e-2 * rate + 1e-8, name


def test_strong_text_guidance(step):
    weight = step.model.get_parameter(TEXT_GUIDANCE)
    weight.data *= 100
    loss, gradients = step.gradients(VOC[:5])
    weight.data /= 100
    assert loss == pytest.approx(step.extra["tg100_train/loss"].item(), rel=1e-5)
    check_gradients(gradients, step.extra, "tg100_train")


@torch.no_grad()
def test_stochastic_depth_of_a_frozen_swin(step):
    """The published code runs it in training though Swin is frozen: the same noise from the same seed."""
    if not isinstance(step.model.guidance.backbone, SwinBase):
        pytest.skip("ResNet-101 has none")
    torch.manual_seed(0)
    loss = step.loss(step.words, stochastic_depth=True).item()
    assert loss == pytest.approx(step.expected["train/loss_droppath_seed0"].item(), rel=1e-5)
    assert abs(loss - step.numbers["loss"]) > 1e-4
