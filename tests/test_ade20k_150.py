"""ADE20K with 150 classes: every value loses one, unlabelled wraps to 255, and nothing above 150 passes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sets import read, save_label, save_pair

from ovss.datasets.ade20k_150 import convert, plan, table
from ovss.datasets.label_images import relabel
from ovss.datasets.prepare import prepare


@given(st.lists(st.integers(0, 150), min_size=1, max_size=40))
def test_table_is_minus_one_in_8_bits(values):
    image = np.array([values], np.uint8)
    np.testing.assert_array_equal(relabel(image, table()), image - np.uint8(1))


@pytest.mark.parametrize(("split", "folder", "count"), [("val", "validation", 2000), ("train", "training", 20210)])
def test_folders(tmp_path, split, folder, count):
    home = tmp_path / "ADEChallengeData2016"
    save_pair(home, f"annotations/{folder}", f"images/{folder}", "ADE_val_00000001", [[0, 1, 2], [150, 7, 18]])
    made = plan(tmp_path, split)
    assert (made.expected, made.problems) == (count, [])
    assert prepare(made, workers=1).failures == []
    assert read(home / f"annotations_detectron2/{folder}/ADE_val_00000001.png") == [[255, 0, 1], [149, 6, 17]]


@pytest.mark.parametrize("value", [151, 200, 255])
def test_a_value_of_no_class(tmp_path, value):
    """Shifted like the others it would be a class that is not there, or 254."""
    path = save_label(tmp_path / "a.png", [[3, value]])
    with pytest.raises(ValueError, match=rf"a\.png: value {value}, expected 0 \(unlabelled\) to 150"):
        convert(path)


def test_no_label_images(tmp_path):
    (tmp_path / "ADEChallengeData2016/annotations/validation").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"annotations/validation: no label images .* ADEChallengeData2016\.zip"):
        plan(tmp_path, "val")
