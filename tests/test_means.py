"""cliptrase/means.py: by hand, and against the mean, pixel by pixel, of resized logits."""

import pytest
import torch
import torch.nn.functional as F

from cliptrase import means as module
from cliptrase.means import mean_by_pixels, mean_labels, mean_scores, region_means, region_weights
from ovss.inference import merge_rows


def by_pixels(logits, classes, regions):
    """The definition: resize, take each class's best row, then the mean of each region in float64."""
    full = F.interpolate(logits, size=regions.shape[1:], mode="bilinear", align_corners=False)
    scores = merge_rows(full, classes)
    for image, where in zip(scores, regions, strict=True):
        for region in range(int(where.max()) + 1):
            inside = where == region
            image[:, inside] = image[:, inside].double().mean(1, keepdim=True).float().expand(-1, inside.sum())
    return scores


@pytest.fixture
def regions():
    """Two pictures of 9 x 14 px with four regions and two, and one without."""
    generator = torch.Generator().manual_seed(7)
    several = torch.randint(0, 4, (2, 9, 14), generator=generator)
    several[1] %= 2
    return torch.cat([several, torch.full((1, 9, 14), -1)])


@pytest.fixture
def logits():
    return 100 + torch.randn(3, 6, 3, 5, generator=torch.Generator().manual_seed(8))


def test_weights_by_hand():
    # Four pixels over two patches: pixels 0 and 3 lie outside the patches' centres, 1 and 2 at a quarter between.
    weights = region_weights(torch.tensor([[[0, 0, 1, 2]]]), 4, (1, 2))
    assert weights.tolist() == [[[0.875, 0.125], [0.25, 0.75], [0, 1], [0, 0]]]


def test_mean_by_hand():
    logits = torch.tensor([[[[8.0, 0.0]], [[4.0, 12.0]]]])  # at the pixels: 8 6 2 0 and 4 6 10 12
    regions = torch.tensor([[[0, 0, 1, 1]]])
    assert mean_scores(logits, None, regions).tolist() == [[[[7, 7, 1, 1]], [[5, 5, 11, 11]]]]
    label, score = mean_labels(logits, None, regions)
    assert label.tolist() == [[[0, 0, 1, 1]]]
    assert score.tolist() == [[[7, 7, 11, 11]]]


def test_the_best_row_of_a_class_is_chosen_pixel_by_pixel():
    logits = torch.tensor([[[[8.0, 0.0]], [[4.0, 12.0]]]])
    regions = torch.zeros(1, 1, 4, dtype=torch.int64)
    assert region_means(logits, torch.tensor([0, 0]), regions).tolist() == [[[(8 + 6 + 10 + 12) / 4]]]


@pytest.mark.parametrize("pairs", [1, 100, 1 << 20])
@pytest.mark.parametrize("classes", [None, [0, 1, 2, 3, 4, 5], [1, 0, 2, 2, 0, 3], [0, 0, 0, 0, 0, 0]])
def test_equals_the_mean_of_resized_logits(logits, regions, classes, pairs, monkeypatch):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", pairs)
    classes = None if classes is None else torch.tensor(classes)
    expected = by_pixels(logits, classes, regions)
    torch.testing.assert_close(mean_scores(logits, classes, regions), expected)
    label, score = mean_labels(logits, classes, regions)
    assert torch.equal(label, expected.argmax(1))
    torch.testing.assert_close(score, expected.amax(1))


def test_accurate_over_a_large_region():
    # A running float32 sum of a million equal numbers is wrong by about 1 %.
    logits, regions = torch.full((1, 1, 64, 64), 0.1), torch.zeros(1, 1024, 1024, dtype=torch.int64)
    assert region_means(logits, None, regions).tolist() == [[[logits[0, 0, 0, 0].item()]]]
    full = torch.full((1, 1, 1024, 1024), 0.1)
    assert mean_by_pixels(full, regions, 1).tolist() == [[[full[0, 0, 0, 0].item()]]]


def test_smaller_answers_and_half_precision(logits, regions):
    """An answer below the resolution of the patches; the type of the logits is kept."""
    small = regions[:, ::4, ::5]
    torch.testing.assert_close(mean_scores(logits, None, small), by_pixels(logits, None, small))
    assert mean_scores(logits.bfloat16(), None, regions).dtype == torch.bfloat16
