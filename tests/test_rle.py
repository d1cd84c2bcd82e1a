"""COCO's run lengths: equal to pycocotools where runs fit the picture, else refused before a pixel is written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from ovss.datasets.rle import decompress, paint, read_runs

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))


def decode(segmentation, size):
    canvas = np.zeros(size[::-1], np.uint8)
    paint(canvas, read_runs(segmentation, size), 1)
    return canvas.T


def test_runs_go_down_the_columns():
    mask = [[0, 1, 1], [1, 1, 0]]  # by columns 0 1, 1 1, 1 0
    assert read_runs({"size": [2, 3], "counts": [1, 4, 1]}, (2, 3)).tolist() == [1, 4, 1]
    assert decode({"size": [2, 3], "counts": [1, 4, 1]}, (2, 3)).tolist() == mask
    assert decode({"size": [2, 3], "counts": "141"}, (2, 3)).tolist() == mask


def test_a_run_of_no_pixel_is_a_run():
    assert decode({"size": [1, 3], "counts": [0, 1, 0, 1, 1]}, (1, 3)).tolist() == [[1, 1, 0]]


@given(MASKS, st.integers(1, 30), st.integers(1, 30))
def test_equals_pycocotools(pattern, tall, wide):
    """Patterns are stretched, so that runs need more than one character."""
    mask = np.asfortranarray(np.kron(pattern, np.ones((tall, wide), np.uint8)))
    height, width = mask.shape
    compressed = coco.encode(mask)
    text = {"size": [height, width], "counts": compressed["counts"].decode()}
    runs = read_runs(text, mask.shape).tolist()
    assert np.array_equal(decode(text, mask.shape), mask)
    assert np.array_equal(decode({"size": [height, width], "counts": runs}, mask.shape), mask)
    assert coco.frPyObjects({"size": [height, width], "counts": runs}, height, width) == compressed


@given(st.text("0123456789GOPo", max_size=6))
def test_any_string_is_read_or_refused(counts):
    segmentation = {"size": [2, 3], "counts": counts}
    try:
        mask = decode(segmentation, (2, 3))
    except ValueError:
        return
    assert np.array_equal(mask, coco.decode(segmentation))


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [3, 2], "counts": [6]}, r"size \[3, 2\] in a picture of \[2, 3\]"),
        ({"counts": [6]}, "size None in a picture"),
        ({"size": 6, "counts": [6]}, "size 6 in a picture"),
        ({"size": [2, 3], "counts": [1, 4]}, "sum to 5, not to 2 x 3 = 6"),
        ({"size": [2, 3], "counts": [1, 4_000_000_000]}, "sum to 4000000001"),
        ({"size": [2, 3], "counts": [1, 8, -3]}, "neither a string nor a list"),
        ({"size": [2, 3], "counts": [1, 5.0]}, "neither a string nor a list"),
        ({"size": [2, 3], "counts": [[0.0, 1.0, 2.0, 1.0]]}, "neither a string nor a list"),
        ({"size": [2, 3]}, "neither a string nor a list"),
        ({"size": [2, 3], "counts": "1é"}, "damaged"),
        ({"size": [2, 3], "counts": "1 "}, "damaged"),
        ({"size": [2, 3], "counts": "oooooooooo0"}, "too many characters"),
        ({"size": [2, 3], "counts": "14o"}, "ends in the middle"),
        ({"size": [2, 3], "counts": ""}, "damaged"),
        ({"size": [2, 3], "counts": "1O6"}, "neither a string nor a list"),
    ],
)
def test_hostile_runs_are_refused(segmentation, reason):
    """The last string says a run of -1, which sums up with the others."""
    with pytest.raises(ValueError, match=reason):
        read_runs(segmentation, (2, 3))


def test_lengths_from_the_fourth_on_are_differences():
    assert decompress("141").tolist() == [1, 4, 1]
    assert decompress("1412O").tolist() == [1, 4, 1, 6, 0]
