"""What must not change CAT-Seg's answer, and what must: batches, orders and numbers of classes, prompts, shapes."""

import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_images, small_model, small_text

from cat_seg import decoder as decoder_module
from cat_seg.cost import DROPPED_LOGIT


def same(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize("rows", [3, 9])
def test_batch_equals_single(small_clip, rows):
    model, images, text = small_model(small_clip), small_images(3), small_text(rows)
    together = model(images, text)
    for index in range(3):
        same(together[index : index + 1], model(images[index : index + 1], text))


@torch.no_grad()
@pytest.mark.parametrize(("rows", "tokens"), [(1, 6), (5, 6), (6, 6), (7, 6), (9, 6), (9, 0)])
def test_permuting_classes_permutes_logits(small_clip, rows, tokens):
    model, images, text = small_model(small_clip, class_tokens=tokens), small_images(2), small_text(rows)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(3))
    logits = model.logits(images, text)
    assert logits.shape == (2, rows, 32, 32)
    same(model.logits(images, text[order]), logits[:, order], 1e-4)
    assert rows == 1 or (logits[:, 0] - logits[:, 1]).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 255, 256, 257])
def test_around_the_published_number_of_classes(small_clip, rows):
    model, text = small_model(small_clip, class_tokens=256), small_text(rows)
    logits = model.logits(small_images(), text)
    dropped = (logits == DROPPED_LOGIT).all(dim=(2, 3))
    assert dropped.sum() == max(rows - 256, 0)
    assert torch.isfinite(logits).all()
    if rows > 256:  # the dropped class is as good as absent
        kept = ~dropped[0]
        same(model.logits(small_images(), text[kept]), logits[:, kept], 1e-4)


@torch.no_grad()
def test_padding_makes_logits_depend_on_the_number_of_classes(small_clip):
    images, text = small_images(), small_text(4)
    padded, bare = small_model(small_clip), small_model(small_clip, class_tokens=0)
    assert (padded.logits(images, text) - bare.logits(images, text)).abs().max() > 1e-3


@torch.no_grad()
def test_prompts_are_channels(small_clip):
    model, text = small_model(small_clip, prompts=8), small_text(4, prompts=8)
    logits = model.logits(small_images(), text)
    assert logits.shape == (1, 4, 32, 32)
    assert (model.logits(small_images(), text.flip(1)) - logits).abs().max() > 1e-3
    with pytest.raises(ValueError, match="text with 1 prompts per class, but this model embeds 8"):
        model.logits(small_images(), small_text(4))


@torch.no_grad()
def test_chunks_of_classes_equal_the_whole(small_clip, monkeypatch):
    model, images, text = small_model(small_clip), small_images(2), small_text(5)
    whole = model.logits(images, text)
    monkeypatch.setattr(decoder_module, "MAPS_AT_ONCE", 4)
    same(model.logits(images, text), whole)


@torch.no_grad()
def test_any_shape_is_squashed_and_answered_in_its_own(small_clip):
    model, images, text = small_model(small_clip), small_images(size=(32, 96)), small_text(3)
    squashed = F.interpolate(images, (64, 64), mode="bilinear", align_corners=False)
    same(model.logits(images, text), model.logits(squashed, text))
    assert model(images, text).shape == (1, 3, 32, 96)
    assert model(images, text, size=(10, 20)).shape == (1, 3, 10, 20)
    merged = model(images, text, classes=torch.tensor([0, 1, 1]))
    same(merged[:, 1], model(images, text)[:, 1:].amax(1))


@torch.no_grad()
def test_pooling_of_training_and_test(small_clip):
    model, images, text = small_model(small_clip, pooling=1, train_pooling=2), small_images(), small_text(3)
    fine = model.logits(images, text)
    coarse = model.train().logits(images, text)
    model.train_pooling = 1
    same(model.logits(images, text), fine)
    assert (coarse - fine).abs().max() > 1e-3


def test_resolution_must_fit_the_patch(small_clip):
    with pytest.raises(ValueError, match="resolution 60 px is no multiple of CLIP's patch, 8 px"):
        small_model(small_clip, resolution=60)
