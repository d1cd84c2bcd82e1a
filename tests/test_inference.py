"""Fitting pictures to the patch grid, and rows of text to classes."""

import pytest
import torch

from ovss.inference import fit, merge_rows


def test_merge_rows_takes_the_best_row():
    scores = torch.tensor([1.0, -2.0, 3.0, 0.5]).view(1, 4, 1, 1)
    merged = merge_rows(scores, torch.tensor([0, 1, 2, 0]))
    assert merged.flatten().tolist() == [1.0, -2.0, 3.0]
    merged = merge_rows(scores, torch.tensor([0, 0, 1, 1]))
    assert merged.flatten().tolist() == [1.0, 3.0]


def test_merge_rows_keeps_what_needs_no_merge():
    scores = torch.randn(2, 3, 4, 5)
    assert merge_rows(scores, None) is scores
    assert merge_rows(scores, torch.arange(3)) is scores


def test_argmax_then_merge_equals_merge_then_argmax():
    torch.manual_seed(0)
    scores, classes = torch.randn(2, 7, 9, 8), torch.tensor([0, 1, 1, 2, 3, 3, 3])
    assert torch.equal(merge_rows(scores, classes).argmax(1), classes[scores.argmax(1)])


def test_pad_fills_right_and_bottom():
    image, fill = torch.rand(3, 5, 9), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    fitted = fit(image, 4, "pad", fill)
    assert fitted.shape == (3, 8, 12)
    assert torch.equal(fitted[:, :5, :9], image)
    assert torch.equal(fitted[:, 5:], fill.expand(3, 3, 12))
    assert torch.equal(fitted[:, :, 9:], fill.expand(3, 8, 3))


@pytest.mark.parametrize(
    ("size", "expected"), [((5, 9), (4, 8)), ((1, 1), (4, 4)), ((6, 6), (8, 8)), ((11, 100), (12, 100))]
)
def test_resize_goes_to_the_nearest_multiple(size, expected):
    image = torch.full((3, *size), 0.7)
    fitted = fit(image, 4, "resize", torch.zeros(3, 1, 1))
    assert fitted.shape == (3, *expected)
    torch.testing.assert_close(fitted, torch.full_like(fitted, 0.7))


@pytest.mark.parametrize("how", ["pad", "resize"])
def test_a_picture_that_fits_stays(how):
    image = torch.rand(3, 8, 4)
    assert torch.equal(fit(image, 4, how, torch.zeros(3, 1, 1)), image)


def test_unknown_fit():
    with pytest.raises(ValueError, match=r"unknown way .* 'crop'; known: pad, resize"):
        fit(torch.zeros(3, 4, 4), 4, "crop", torch.zeros(3, 1, 1))
