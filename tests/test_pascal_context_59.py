"""PASCAL-Context 59: regions painted in order, and what is wrong in an annotation file."""

import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_sets import read, region, save_annotations

from ovss.class_file import read_class_file
from ovss.datasets.detail import FILE, FOLDER, Picture
from ovss.datasets.pascal_context_59 import label, plan
from ovss.datasets.prepare import prepare
from ovss.datasets.table import CLASSES

IDS = read_class_file(CLASSES / "pascal_context_59.json").ids
SIZE = (2, 3)
LABELS = f"{FOLDER}/annotations_detectron2/pc59_val"


@pytest.fixture
def root(tmp_path):
    """Two val pictures: one with an aeroplane (2 -> 0) under a bag (9 -> 1) and a wood floor (no class of the 59)."""
    regions = [
        region(0, 2, SIZE, [0, 4, 2]),
        region(0, 9, SIZE, [2, 1, 3]),
        region(1, 458, SIZE, "06"),
        region(0, 456, SIZE, [5, 1]),
        region(2, 2, SIZE, [0, 6]),
    ]
    pictures = {"2008_000002": ("val", SIZE), "2008_000003": ("val", SIZE), "2008_000004": ("train", SIZE)}
    save_annotations(tmp_path, pictures, regions)
    return tmp_path


def test_later_regions_lie_on_top(root):
    """By columns: aeroplane on pixels 0 to 3, bag on pixel 2, a class of the 459 alone on pixel 5."""
    outcome = prepare(plan(root, "val"), workers=1)
    assert (outcome.written, outcome.failures) == (2, [])
    assert read(root / LABELS / "2008_000002.png") == [[0, 1, 255], [0, 0, 255]]
    assert read(root / LABELS / "2008_000003.png") == [[58] * 3] * 2


def test_train_is_the_other_phase(root):
    assert prepare(plan(root, "train"), workers=1).failures == []
    assert read(root / FOLDER / "annotations_detectron2/pc59_train/2008_000004.png") == [[0] * 3] * 2


def test_the_59_classes_in_their_order():
    """One pixel for each category from 0 to 459: the 59 rise, all others are unlabelled."""
    one = [{"size": [1, 460], "counts": [category, 1, 459 - category]} for category in range(460)]
    (painted,) = label(Picture("x", 1, 460, list(enumerate(one))), {value: index for index, value in enumerate(IDS)})
    assert len(IDS) == 59
    assert painted[0, list(IDS)].tolist() == list(range(59))
    assert (np.delete(painted[0], IDS) == 255).all()


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 9, 18, 500]), st.lists(st.booleans(), min_size=12, max_size=12))))
def test_equals_a_painter_of_single_pixels(layers):
    expected = [[255] * 4 for _ in range(3)]
    regions = []
    for category, mask in layers:
        for place, covered in enumerate(mask):
            if covered:
                expected[place % 3][place // 3] = {2: 0, 9: 1, 18: 2}.get(category, 255)
        runs = [0]
        for before, covered in zip([False, *mask], mask, strict=False):
            runs = [*runs[:-1], runs[-1] + 1] if covered == before else [*runs, 1]
        regions.append((category, {"size": [3, 4], "counts": runs}))
    (painted,) = label(Picture("x", 3, 4, regions), {2: 0, 9: 1, 18: 2})
    assert painted.tolist() == expected


def test_pictures_without_a_region_and_unknown_categories_are_told(tmp_path):
    regions = [region(0, 512, SIZE, [0, 6]), region(0, 0, SIZE, [0, 6])]
    save_annotations(tmp_path, {"2008_000002": ("val", SIZE), "2008_000003": ("val", SIZE)}, regions)
    outcome = prepare(plan(tmp_path, "val"), workers=1)
    assert outcome.failures == []
    assert "1 pictures have no region and become unlabelled as a whole, the first is 2008_000003.jpg" in outcome.notes
    assert "1 regions of no known category become unlabelled, the first is 512 in 2008_000002.jpg" in outcome.notes
    assert read(tmp_path / LABELS / "2008_000003.png") == [[255] * 3] * 2


def test_another_list_of_val_is_told(tmp_path):
    """2008_000002 is a picture of the official val, 1999_000001 none."""
    save_annotations(tmp_path, {"2008_000002": ("val", SIZE), "1999_000001": ("val", SIZE)}, [])
    notes = prepare(plan(tmp_path, "val"), workers=1).notes
    assert "1 pictures of phase val are not in pascal_context_val.txt, the first is 1999_000001" in notes
    assert any(note.startswith("5,103 pictures of pascal_context_val.txt are not of phase val") for note in notes)
    assert "2 of 5,104 pictures: not the whole benchmark" in notes


@pytest.mark.parametrize("counts", [[1, 4], [7], [0, 1_000_000_000], "oo", 7])
def test_a_wrong_region_is_named_and_the_other_pictures_are_done(tmp_path, counts):
    regions = [region(0, 2, SIZE, [0, 6]), region(0, 9, SIZE, counts), region(1, 9, SIZE, [0, 6])]
    save_annotations(tmp_path, {"2008_000002": ("val", SIZE), "2008_000003": ("val", SIZE)}, regions)
    outcome = prepare(plan(tmp_path, "val"), workers=1)
    assert outcome.written == 1
    assert len(outcome.failures) == 1
    assert re.search(rf"{FILE}: 2008_000002.jpg, region 2 of category 9: a mask", outcome.failures[0])


def test_pictures_are_compared(root):
    """A photo that is missing, and one of another size; the labels are written."""
    (root / FOLDER / "JPEGImages/2008_000002.jpg").unlink()
    Image.new("RGB", (5, 5)).save(root / FOLDER / "JPEGImages/2008_000003.jpg")
    outcome = prepare(plan(root, "val"), workers=1)
    assert outcome.written == 2
    assert re.search("2008_000002.jpg: no such file", outcome.failures[0])
    assert re.search("2008_000003.png is 3 x 2 px, its picture .* 5 x 5 px", outcome.failures[1])
    shutil.rmtree(root / FOLDER / "JPEGImages")
    folder = root / FOLDER / "JPEGImages"
    outcome = prepare(plan(root, "val"), workers=1)
    assert f"{folder}: no such folder; label images were compared with no picture" in outcome.notes
    assert outcome.failures == []
