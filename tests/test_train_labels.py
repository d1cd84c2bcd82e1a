"""Labels of crops: what stored values mean, in every kind of file, and a resize that is torch's of floats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ovss.d2.api import T
from ovss.d2.training.labels import CropInput, LabelReader
from ovss.images import ImageError


def reader(**settings):
    return LabelReader(**{"classes": 4, "unlabelled": 255, "label_map": (), "ignore_label": 255, **settings})


@pytest.fixture
def stored(tmp_path):
    def write(values):
        path = str(tmp_path / "labels.tif")
        Image.fromarray(values).save(path)
        return path

    return write


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_values_become_classes(kind, stored):
    path = stored(np.array([[0, 3, 255], [7, 2, 2]], kind))
    labels = reader(label_map=((7, 1), (3, 7), (2, 255)), classes=8, ignore_label=99)(path)
    assert labels.tolist() == [[0, 7, 99], [1, 99, 99]]  # all pairs at once


def test_two_values_of_one_bit(stored):
    assert reader()(stored(np.array([[True, False]]))).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("classes", "ignore_label", "kind"),
    [
        (171, 255, np.uint8),
        (254, 255, np.uint8),
        (255, 255, np.int16),  # 256 stands for what is neither
        (847, 65535, np.int32),
        (150, 1000, np.int16),
        (150, -100, np.int16),
    ],
)
def test_the_smallest_type_that_holds_them(classes, ignore_label, kind, stored):
    read = reader(classes=classes, unlabelled=65535, ignore_label=ignore_label)
    labels = read(stored(np.array([[classes - 1, 65535]], np.uint16)))
    assert labels.dtype == kind
    assert labels.tolist() == [[classes - 1, ignore_label]]


def test_no_number_at_all():
    with pytest.raises(ValueError, match=r"LOSS.IGNORE_LABEL 4294967296: expected a number of at most 32 bits"):
        reader(ignore_label=2**32)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_a_value_of_no_class_is_named(kind, stored):
    with pytest.raises(ImageError, match=r"labels.tif: label 4, but there are 4 classes \(0 to 3\) and pixels .* 255"):
        reader()(stored(np.array([[0, 4, 255]], kind)))
    with pytest.raises(ImageError, match=r"label 9, but there are 4 classes"):  # as it is mapped
        reader(label_map=((1, 9),), ignore_label=4)(stored(np.array([[0, 1]], kind)))
    with pytest.raises(ImageError, match=r"^label image .*nowhere.png: no such file"):
        reader()("nowhere.png")


SIDES = st.integers(1, 700)


@given(SIDES, SIDES, SIDES, SIDES)
def test_resized_as_torch_resizes_floats(height, width, new_height, new_width):
    resize = T.ResizeTransform(height, width, new_height, new_width)
    labels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    crop = CropInput(np.zeros((height, width, 3), np.uint8), sem_seg=labels)
    crop.transform(resize)
    expected = resize.apply_segmentation(labels.astype(np.float64))
    np.testing.assert_array_equal(crop.sem_seg, expected)
    assert crop.sem_seg.dtype == np.uint8
    assert crop.image.shape == (new_height, new_width, 3)


def test_a_picture_that_a_resize_would_leave_nothing_of():
    thin = CropInput(np.zeros((1, 5000, 3), np.uint8), sem_seg=np.zeros((1, 5000), np.uint8))
    with pytest.raises(ImageError, match="a picture of 5000 x 1 px is too thin to be resized"):
        T.AugmentationList([T.ResizeShortestEdge((384,), 1333, "choice")])(thin)
