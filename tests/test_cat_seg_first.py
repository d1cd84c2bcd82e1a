"""The first version's settings: what must not change its answer, what must, and what each part is given."""

import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_first_model, small_images, small_text

from cat_seg.cost import DROPPED_LOGIT
from cat_seg.guidance import to_square
from ovss.clip.image import value_to_class
from ovss.inference import fit


def same(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@torch.no_grad()
def test_batch_equals_single(small_clip):
    model, images, text = small_first_model(small_clip), small_images(3), small_text(4)
    together = model(images, text)
    for index in range(3):
        same(together[index : index + 1], model(images[index : index + 1], text))


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 9])
def test_permuting_classes_permutes_logits(small_clip, rows):
    """Any number of classes, and none is dropped."""
    model, images, text = small_first_model(small_clip), small_images(2), small_text(rows)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(3))
    logits = model.logits(images, text)
    assert logits.shape == (2, rows, 32, 32)
    assert logits.min() > DROPPED_LOGIT
    same(model.logits(images, text[order]), logits[:, order], 1e-4)
    assert rows == 1 or (logits[:, 0] - logits[:, 1]).abs().max() > 1e-2


@torch.no_grad()
def test_prompts_are_channels(small_clip):
    model, text = small_first_model(small_clip, prompts=80), small_text(3, prompts=80)
    logits = model.logits(small_images(), text)
    assert (model.logits(small_images(), text.flip(1)) - logits).abs().max() > 1e-3


@torch.no_grad()
def test_parts_matter(small_clip):
    """What guides, and the residual of CLIP's last block."""
    model, images, text = small_first_model(small_clip), small_images(), small_text(3)
    logits = model.logits(images, text)
    other = small_first_model(small_clip, last_block=value_to_class)
    assert (other.logits(images, text) - logits).abs().max() > 1e-3
    for name in ("coarse", "middle", "fine"):
        convolution = model.guidance.backbone.get_submodule(name)
        convolution.bias += 1
        assert (model.logits(images, text) - logits).abs().max() > 1e-3
        convolution.bias -= 1


def test_to_square_by_hand():
    """1 x 4 pixels, padded to 4 x 4 at the bottom, squashed to 2 x 2: means of four, or nothing."""
    image = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 1, 4)
    assert to_square(image, 2, 4).flatten().tolist() == [1.0, 3.0, 0.0, 0.0]
    assert to_square(image, 2, 1)[0, 0, 0].tolist() == [2.0, 6.0]


@torch.no_grad()
@pytest.mark.parametrize("size", [(40, 56), (96, 32)])
def test_copies_are_padded_with_their_own_means(small_clip, size):
    """In the plain path each copy's border is its mean, 0 once normalised; elsewhere there is none."""
    model, images, text = small_first_model(small_clip, pad_to=32), small_images(size=size), small_text(3)
    seen = {}
    model.clip.visual.register_forward_pre_hook(lambda _, args: seen.update(clip=args[0]))
    model.guidance.backbone.register_forward_pre_hook(lambda _, args: seen.update(backbone=args[0]))

    def expected(part, side, multiple):
        padded = fit(images[0], multiple, "pad", part.pixel_mean)[None]
        normalised = (padded - part.pixel_mean) / part.pixel_std
        return F.interpolate(normalised, (side, side), mode="bilinear", align_corners=False)

    for run, multiple in ((model, 32), (model.logits, 1)):
        run(images, text)
        same(seen["clip"], expected(model, 64, multiple))
        same(seen["backbone"], expected(model.guidance, 128, multiple))
    assert not torch.equal(model.pixel_mean, model.guidance.pixel_mean)
    assert model(images, text).shape == (1, 3, *size)
    assert model(images, text, size=(10, 20)).shape == (1, 3, 10, 20)
