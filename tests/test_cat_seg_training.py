"""CAT-Seg's loss, what trains, and parity of one training step with the authors' code."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_first_model, small_model
from golden_cat_seg import published
from PIL import Image

from cat_seg.backbone import ResNet101, SwinBase
from cat_seg.d2 import CATSeg
from cat_seg.released_names import released_name
from cat_seg.training import pixel_loss, set_trainable
from ovss.d2.mapper import InputTransform
from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.parse("cat, wall, sea")


def segmentor(model, clip_finetune="attention", ignored_as_negative=True):
    set_trainable(model, clip_finetune)
    parts = {"prompts": prompt_set("single"), "average_prompts": False, "synonyms": "first"}
    return CATSeg(model=model, ignore_label=255, ignored_as_negative=ignored_as_negative, **parts).train()


def test_loss_by_hand():
    """Two classes, one pixel of class 1 and one without label, all logits 0: every term is log 2."""
    logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 255]]])
    for as_negative in (True, False):
        assert pixel_loss(logits, labels, 255, as_negative).item() == pytest.approx(np.log(2))
    logits = torch.tensor([[[[-2.0, 3.0]], [[1.0, 0.0]]]])
    own = np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))  # "not 0", "yes 1"
    void = np.log1p(np.exp(3)) + np.log(2)  # "not 0", "not 1"
    assert pixel_loss(logits, labels, 255, True).item() == pytest.approx((own + void) / 4)
    assert pixel_loss(logits, labels, 255, False).item() == pytest.approx(own / 2)


def test_loss_equals_one_hot_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 3, 4, generator=generator, requires_grad=True)
    labels = torch.randint(0, 6, (2, 9, 7), generator=generator)  # 5 is no label here
    resized = F.interpolate(logits, (9, 7), mode="bilinear", align_corners=False)
    targets = F.one_hot(labels, 6)[..., :5].permute(0, 3, 1, 2).float()
    plain = F.binary_cross_entropy_with_logits(resized, targets)
    terms = F.binary_cross_entropy_with_logits(resized, targets, reduction="none").permute(0, 2, 3, 1)
    masked = terms[labels != 5].mean()
    for expected, as_negative in ((plain, True), (masked, False)):
        found = pixel_loss(logits, labels, 5, as_negative)
        torch.testing.assert_close(found, expected)
        found_gradient, gradient = (torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (found, expected))
        torch.testing.assert_close(found_gradient, gradient)


def test_loss_of_nothing():
    nothing = torch.full((1, 2, 2), 255)
    assert pixel_loss(torch.zeros(1, 3, 2, 2), nothing, 255, False).item() == 0


@pytest.mark.parametrize(("as_negative", "weights"), [(True, [4096, 8192]), (False, [0, 4096 + 3])])
def test_weights_make_of_the_losses_of_parts_that_of_the_whole(small_clip, as_negative, weights):
    """Three crops of 64 x 64 px: one without a label, one with three, one with all; parts of one and of two."""
    trained = segmentor(small_model(small_clip), ignored_as_negative=as_negative)
    batch = crops(3)
    batch[0]["sem_seg"] = torch.full((64, 64), 255)
    batch[1]["sem_seg"] = batch[1]["sem_seg"].where(torch.arange(4096).view(64, 64) < 3, 255)
    parts = [batch[:1], batch[1:]]
    assert [trained.loss_weight(part) for part in parts] == weights
    assert trained.loss_weight(batch) == sum(weights)
    losses = [trained(part)["loss_sem_seg"].item() for part in parts]
    mean = sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)
    assert mean == pytest.approx(trained(batch)["loss_sem_seg"].item(), rel=1e-5)


@pytest.mark.parametrize(("mode", "per_block"), [("none", 0), ("attention", 2), ("full", 16)])
def test_what_trains(small_clip, mode, per_block):
    model = small_model(small_clip)
    set_trainable(model, mode)
    own = [*model.aggregator.parameters(), *model.guidance.parameters()]
    assert all(parameter.requires_grad for parameter in own)
    trained = [name for name, parameter in model.clip.named_parameters() if parameter.requires_grad]
    blocks = len(small_clip.visual.resblocks) + len(small_clip.text.resblocks)
    assert len(trained) == per_block * blocks
    if mode == "attention":
        assert {name.split(".attn.")[1] for name in trained} == {"q_proj.weight", "v_proj.weight"}


def test_what_trains_of_the_first_version(small_clip):
    """All attention of the image tower and its positions; of the backbone nothing, or all but what is always frozen."""
    model = small_first_model(small_clip, backbone=SwinBase(resolution=128, drop_path=0.0))
    set_trainable(model, "image_attention")
    trained = {name for name, parameter in model.clip.named_parameters() if parameter.requires_grad}
    assert len(trained) == 1 + 8 * len(small_clip.visual.resblocks)
    assert {name for name in trained if ".attn." not in name} == {"visual.positional_embedding"}
    assert not any(parameter.requires_grad for parameter in model.guidance.parameters())
    set_trainable(model, "image_attention", backbone=True)
    frozen = {name for name, parameter in model.guidance.named_parameters() if not parameter.requires_grad}
    assert frozen == {"backbone.norms.0.weight", "backbone.norms.0.bias"}
    model = small_first_model(small_clip, backbone=ResNet101())
    set_trainable(model, "none", backbone=True)
    assert sum(parameter.requires_grad for parameter in model.guidance.parameters()) == 94  # its convolutions


def test_words_are_encoded_once_where_the_text_tower_is_frozen(small_clip, tmp_path, monkeypatch):
    monkeypatch.setenv("OVSS_CACHE", str(tmp_path))  # no other test has encoded them
    for mode, passes in (("attention", 2), ("image_attention", 1)):
        trained = segmentor(small_first_model(small_clip), mode)
        calls = []
        trained.model.clip.text.register_forward_hook(lambda *_: calls.append(1))  # noqa: B023
        losses = [trained(crops(1))["loss_sem_seg"] for _ in range(2)]
        assert len(calls) == passes
        assert losses[0] == losses[1]


def test_unknown_way_to_finetune(small_clip):
    with pytest.raises(
        ValueError, match="unknown way to finetune CLIP 'all'; known: none, attention, image_attention, full"
    ):
        set_trainable(small_model(small_clip), "all")


def crops(count, size=64):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator),
            "sem_seg": torch.randint(0, 3, (size, size), generator=generator),
            "vocabulary": WORDS,
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("version", ["second", "second, fewer class tokens than classes", "first"])
@pytest.mark.parametrize("mode", ["none", "attention", "image_attention", "full", "prompt"])
def test_every_trained_parameter_gets_a_gradient(small_clip, mode, version):
    """Also those that the answer does not depend on, as exact zeros: data-parallel training needs them."""
    if version == "first":
        model = small_first_model(small_clip)
    else:
        model = small_model(small_clip, class_tokens=6 if version == "second" else 2)
    model.clip.visual.add_prompts(3, 2)
    trained = segmentor(model, mode)
    set_trainable(model, mode, backbone=version == "first")
    trained(crops(2))["loss_sem_seg"].backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []
    zero = {name for name, parameter in trained.items() if parameter.grad.abs().max() == 0}
    assert all("clip.visual.resblocks.3.attn." in name or "padding" in name for name in zero)


def test_a_batch_of_different_words(small_clip):
    batch = crops(2)
    batch[1]["vocabulary"] = Vocabulary.parse("sky, dog")
    with pytest.raises(ValueError, match="a batch of crops with 2 vocabularies"):
        segmentor(small_model(small_clip))(batch)


def golden_batch(shared, expected):
    """Crops of two photos and made-up labels of the first 32 classes of COCO, as the expected step had them."""
    names = json.loads((shared / "samples/class_texts/coco.json").read_text())[:32]
    y, x = np.mgrid[:384, :384]
    batch = []
    for index, picture in enumerate(("astronaut", "chelsea")):
        image = np.asarray(Image.open(shared / f"samples/photos/{picture}.png").convert("RGB"))
        resized = InputTransform(min_size=640, max_size=2560)(image).transpose(2, 0, 1)
        crop = np.ascontiguousarray(resized[:, 64 * index : 64 * index + 384, 32:416])
        labels = ((y // 48) * 8 + x // 48 + 5 * index) % 32
        labels[(y + x) % 97 < 9] = 255
        assert (crop[:, ::4, ::4] == expected[f"train/crop{index}_stride4"]).all()
        assert (labels == expected[f"train/label{index}"]).all()
        batch.append({"image": torch.from_numpy(crop), "sem_seg": torch.from_numpy(labels)})
    return [{**item, "vocabulary": Vocabulary.from_words(names)} for item in batch]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["vitb", pytest.param("vitl", marks=pytest.mark.full)])
def test_one_step_of_the_authors_code(shared, size):
    expected = np.load(shared / f"golden/catseg_{size}.npz")
    numbers = json.loads((shared / f"golden/catseg_{size}_train.json").read_text())
    cfg, model = published(size)
    loss = segmentor(model, cfg.MODEL.CAT_SEG.CLIP_FINETUNE)(golden_batch(shared, expected))["loss_sem_seg"]
    assert loss.item() == pytest.approx(numbers["loss"], rel=1e-5)
    loss.backward()
    gradients = {released_name(name): p.grad for name, p in model.named_parameters() if p.requires_grad}
    keys = json.loads((shared / f"golden/catseg_{size}_keys.json").read_text())
    assert set(gradients) == set(keys["requires_grad"]) == set(numbers["grad_norms"])
    for name, norm in numbers["grad_norms"].items():
        # Softmax does not see the key's bias, so its gradient is rounding noise.
        tolerance = {"abs": 1e-8} if name.endswith("attn.k.bias") and "swin" in name else {"rel": 1e-3, "abs": 1e-12}
        assert gradients[name].norm().item() == pytest.approx(norm, **tolerance), name
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm().item()
    assert total == pytest.approx(numbers["total_grad_norm"], rel=1e-3)
    probes = {key.split("/")[3] for key in expected.files if key.startswith("probe/train/grad/")}
    for name in probes:
        key = f"probe/train/grad/{name}"
        found = gradients[name].numpy().ravel()[expected[f"{key}/idx"]]
        assert np.abs(found - expected[f"{key}/val"]).max() <= 1e-3 * expected[f"{key}/stat"][2] + 1e-8, name
