"""The sliding window on models whose answer is known by heart."""

import pytest
import torch
from cat_seg_parts import small_first_model, small_images, small_model, small_text
from largest_tensor import Largest
from torch import nn

from cat_seg.passes import Aggregation
from ovss.sliding_window import SlidingWindow

PUBLISHED = SlidingWindow(canvas=(640, 640), window=384, overlap=0.333)
SMALL = SlidingWindow(canvas=(6, 8), window=4, overlap=0.5)


class Brightness(nn.Module):
    """Logits of T classes: the red channel, times the first number of the class's text."""

    def logits(self, images, text):
        return images[:, :1] * text[:, 0, 0].view(1, -1, 1, 1)

    def logit_parts(self, images, text):
        for rows in torch.arange(len(text)).split(2):
            yield rows, self.logits(images, text[rows])


def test_published_geometry():
    assert PUBLISHED.stride == 256
    assert PUBLISHED.corners == [(0, 0), (0, 256), (256, 0), (256, 256)]


def test_views():
    images = torch.rand(2, 3, 6, 8)  # the size of the canvas: nothing is resized but the whole picture
    views = SMALL.views(images)
    assert SMALL.corners == [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4)]
    assert views.shape == (2, 7, 3, 4, 4)
    assert torch.equal(views[1, 4], images[1, :, 2:6, 2:6])
    whole = torch.nn.functional.interpolate(images, (4, 4), mode="bilinear", align_corners=False)
    assert torch.equal(views[:, 6], whole)


def test_whole_view_is_made_from_the_unsquashed_picture():
    """Without antialiasing only the nearest pixels count: squashing in two steps would see others."""
    images = torch.zeros(1, 3, 12, 16)
    images[..., ::4, :] = 1
    direct = torch.nn.functional.interpolate(images, (4, 4), mode="bilinear", align_corners=False)
    assert torch.equal(SMALL.views(images)[:, -1], direct)


def test_fuse_by_hand():
    """One class, windows of 2 on a canvas of 2 x 3: the middle column is the mean of both windows."""
    window = SlidingWindow(canvas=(2, 3), window=2, overlap=0.5)
    probability = torch.tensor([0.2, 0.6, 0.5]).view(1, 3, 1, 1, 1)
    fused = window.fuse(torch.logit(probability).expand(1, 3, 1, 2, 2))[0, 0]
    expected = torch.tensor([[0.35, 0.45, 0.55]] * 2)  # (0.2, 0.4, 0.6 of the windows + 0.5 of the whole) / 2
    torch.testing.assert_close(fused, expected)


def test_probabilities_are_averaged_not_logits():
    window = SlidingWindow(canvas=(2, 2), window=2, overlap=0.0)
    logits = torch.tensor([0.0, -100.0]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 2, 2)
    torch.testing.assert_close(window.fuse(logits), torch.full((1, 1, 2, 2), 0.25))


def test_a_flat_picture_stays_flat():
    text = torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1)
    scores = PUBLISHED(Brightness(), torch.full((1, 3, 50, 70), 0.5), text, size=(30, 40))
    expected = torch.sigmoid(0.5 * text.view(1, 3, 1, 1)).expand(1, 3, 30, 40)
    torch.testing.assert_close(scores, expected)


def test_batch_equals_single():
    images, text = torch.rand(3, 3, 9, 13), torch.randn(5, 1, 1)
    together = SMALL(Brightness(), images, text)
    assert together.shape == (3, 5, 9, 13)
    for index in range(3):
        assert torch.equal(SMALL(Brightness(), images[index : index + 1], text)[0], together[index])


@pytest.mark.parametrize("classes", [None, [0, 1, 1, 2, 3], [1, 0, 3, 2, 0]])
def test_labels_are_those_of_the_scores(classes):
    images, text = torch.rand(2, 3, 9, 13), torch.randn(5, 1, 1)
    text[4] = text[2]  # equal rows: the first class wins
    classes = None if classes is None else torch.tensor(classes)
    score, label = SMALL(Brightness(), images, text, classes, (7, 5)).max(dim=1)
    labels, scores = SMALL.labels(Brightness(), images, text, classes, (7, 5))
    assert torch.equal(labels, label)
    assert torch.equal(scores, score)


@torch.no_grad()
@pytest.mark.parametrize("rows", [3, 9, 30])
@pytest.mark.parametrize("build", [small_model, small_first_model])
def test_labels_of_a_model_are_those_of_its_scores(small_clip, build, rows):
    """Of up to 6 classes that a view keeps, or all."""
    model, images, text = build(small_clip), small_images(2), small_text(rows)
    window = SlidingWindow(canvas=(96, 96), window=64, overlap=0.5)
    score, label = window(model, images, text).max(dim=1)
    labels, scores = window.labels(model, images, text)
    assert torch.equal(labels, label)
    assert torch.equal(scores, score)


@torch.no_grad()
@pytest.mark.parametrize(
    ("budget", "words", "shares"), [(1, (10, 60), [0, 0]), (2**24, (40, 400), [1, 0.48]), (2**30, (40, 400), [1, 1])]
)
def test_memory_does_not_grow_with_the_words(small_clip, monkeypatch, budget, words, shares):
    """Nothing is made that is as long as the words, but their text; what a layer has made is kept within the budget."""
    model, images = small_model(small_clip, kept_classes=0), small_images()
    model.aggregator.memory_budget = budget
    window = SlidingWindow(canvas=(96, 96), window=64, overlap=0.5)
    kept, logits = {}, Aggregation.logits

    def watched(self, index):
        kept[self] = [0 if x is None else x.nbytes for x in self.left]
        return logits(self, index)

    monkeypatch.setattr(Aggregation, "logits", watched)
    peaks = []
    for rows, share in zip(words, shares, strict=True):
        kept.clear()
        with Largest() as largest:
            window.labels(model, images, small_text(rows))
        peaks.append(largest.values)
        assert sum(sum(group) for group in kept.values()) <= budget
        assert all(sum(map(bool, group)) == share * len(group) for group in kept.values())
    assert peaks[0] == peaks[1]


def test_windows_alone():
    """Without the view of the whole the probabilities are those of the windows."""
    window = SlidingWindow(canvas=(2, 3), window=2, overlap=0.5, whole=False)
    assert window.views(torch.rand(1, 3, 2, 3)).shape == (1, 2, 3, 2, 2)
    probability = torch.tensor([0.2, 0.6]).view(1, 2, 1, 1, 1)
    fused = window.fuse(torch.logit(probability).expand(1, 2, 1, 2, 2))[0, 0]
    torch.testing.assert_close(fused, torch.tensor([[0.2, 0.4, 0.6]] * 2))


def test_rows_of_one_class_are_merged():
    images, text = torch.rand(1, 3, 9, 13), torch.randn(3, 1, 1)
    rows = SMALL(Brightness(), images, text)
    merged = SMALL(Brightness(), images, text, torch.tensor([0, 1, 1]))
    assert torch.equal(merged, torch.stack([rows[:, 0], rows[:, 1:].amax(1)], dim=1))


@pytest.mark.parametrize(
    ("canvas", "window", "overlap", "message"),
    [
        ((640, 600), 384, 0.333, "384 px every 256 px do not cover a canvas of 640 x 600 px"),
        ((300, 640), 384, 0.333, "do not cover a canvas of 300 x 640 px"),
        ((640, 640), 384, 1.0, r"overlap 1.0 .* must be at least 0 and below 1"),
    ],
)
def test_windows_that_do_not_fit(canvas, window, overlap, message):
    with pytest.raises(ValueError, match=message):
        SlidingWindow(canvas, window, overlap)
