"""What must not change CAT-Seg's answer, and what must: batches, orders and numbers of classes, prompts, shapes."""

import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_images, small_model, small_text

from cat_seg import aggregation
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
@pytest.mark.parametrize("budget", [0, 1, 3 * 2 * 64 * 8 * 8 * 4])  # the last: three classes of both views
@pytest.mark.parametrize("maps", [1, 2, 3, 6, 100])
def test_a_few_classes_at_a_time_equal_all(small_clip, monkeypatch, maps, budget):
    """Two views of five classes: a class of a view, of both, more, all; kept between layers, made again, or both."""
    model, images, text = small_model(small_clip), small_images(2), small_text(5)
    whole = model.logits(images, text)
    monkeypatch.setattr(aggregation, "CPU_MAPS", maps)
    model.aggregator.memory_budget = budget
    same(model.logits(images, text), whole)
    rows, parts = zip(*model.logit_parts(images, text), strict=True)
    assert torch.cat(rows).tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(torch.cat(parts, dim=1), model.logits(images, text))


@torch.no_grad()
@pytest.mark.parametrize("maps", [2, 100])
def test_parts_hold_every_row_that_a_view_keeps(small_clip, monkeypatch, maps):
    """Three views keep 6 of 40 rows each; of those that none keeps, the first stands for all."""
    model, images, text = small_model(small_clip), small_images(3), small_text(40)
    monkeypatch.setattr(aggregation, "CPU_MAPS", maps)
    whole = model.logits(images, text)
    rows, parts = zip(*model.logit_parts(images, text), strict=True)
    rows, logits = torch.cat(rows), torch.cat(parts, dim=1)
    dropped = (whole == DROPPED_LOGIT).all(dim=(0, 2, 3)).nonzero()[:, 0].tolist()
    kept = sorted({*range(40)} - {*dropped})
    assert 6 < len(kept) < 19, "views keep different rows"
    assert rows.tolist() == sorted([*kept, dropped[0]])
    assert torch.equal(logits, whole[:, rows])


@torch.no_grad()
def test_classes_that_a_view_keeps_at_test(small_clip):
    model, images, text = small_model(small_clip, kept_classes=3), small_images(), small_text(9)
    logits = model.logits(images, text)
    assert (logits == DROPPED_LOGIT).all(dim=(2, 3)).sum() == 6
    training = model.train().logits(images, text)
    assert (training == DROPPED_LOGIT).all(dim=(2, 3)).sum() == 3, "training keeps as many as there are tokens"
    model.eval().aggregator.kept_classes = 0
    assert (model.logits(images, text) > DROPPED_LOGIT / 2).all()


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
