"""COCO-Stuff: 171 of the values 0 to 181 stay, without gaps; folders and names are the official ones."""

import numpy as np
import pytest
from small_sets import read, save_label, save_pair

from ovss.datasets.coco_stuff import convert, plan, table
from ovss.datasets.prepare import Outcome, prepare

# Street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush: COCO's ids minus 1.
ABSENT = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


def test_table_in_closed_form():
    """A value loses as many as there are absent ones below it."""
    values = [value for value in range(182) if value not in ABSENT]
    assert len(values) == 171
    expected = {value: value - sum(absent < value for absent in ABSENT) for value in values}
    assert table() == {**expected, 255: 255}


@pytest.mark.parametrize(
    ("value", "label"), [(0, 0), (23, 22), (34, 30), (119, 108), (123, 112), (158, 147), (181, 170)]
)
def test_values_checked_by_hand(value, label):
    """As seen in val2017's 000000000785 and 000000001818, and both ends."""
    assert table()[value] == label


def test_val_and_train(tmp_path):
    for split in ("train", "val"):
        save_pair(tmp_path / "coco-stuff", f"annotations/{split}2017", f"images/{split}2017", "1", [[0, 12, 181, 255]])
        made = plan(tmp_path, split)
        assert (len(made.items), made.expected, made.problems) == (1, {"train": 118287, "val": 5000}[split], [])
        assert prepare(made, workers=1).written == 1
        assert read(tmp_path / f"coco-stuff/annotations_detectron2/{split}2017/1.png") == [[0, 11, 170, 255]]


def test_the_layout_of_cliptrase(tmp_path):
    save_pair(tmp_path / "coco", "stuffthingmaps/val2017", "val2017", "1", [[181]])
    assert prepare(plan(tmp_path, "val"), workers=1).failures == []
    assert read(tmp_path / "coco/stuffthingmaps_detectron2/val2017/1.png") == [[170]]


def test_unknown_values_become_unlabelled_and_are_told(tmp_path):
    path = save_label(tmp_path / "1.png", [[*ABSENT, *range(182, 255)]])
    with pytest.warns(UserWarning, match="some values are no class of the set; they became 255, unlabelled"):
        (labels,) = convert(path)
    assert (labels == 255).all()


def test_stray_files_are_passed_over(tmp_path):
    folder = tmp_path / "coco-stuff"
    save_pair(folder, "annotations/val2017", "images/val2017", "1", [[0]])
    for name in (".DS_Store", "Thumbs.db", "._1.png"):
        (folder / "annotations/val2017" / name).write_text("x")
    for name in (".DS_Store", "._2.jpg"):
        (folder / "images/val2017" / name).write_text("x")
    outcome = prepare(plan(tmp_path, "val"), workers=1)
    assert outcome == Outcome(written=1, notes=["1 of 5,000 pictures: not the whole benchmark"])


def test_lonely_files(tmp_path):
    folder = tmp_path / "coco-stuff"
    for name in "123":
        save_pair(folder, "annotations/val2017", "images/val2017", name, [[0]])
    (folder / "annotations/val2017/2.png").unlink()
    (folder / "images/val2017/3.jpg").unlink()
    lonely_picture, lonely_label = prepare(plan(tmp_path, "val"), workers=1).failures
    assert lonely_picture == (
        f"{folder}/images/val2017: 1 without a label image in {folder}/annotations/val2017, the first is 2.jpg"
    )
    assert lonely_label.startswith(f"{folder}/images/val2017/3.jpg: no such file")
    assert read(folder / "annotations_detectron2/val2017/3.png") == [[0]]


def test_no_folder_of_pictures_is_one_warning(tmp_path):
    for name in "123":
        save_label(tmp_path / f"coco-stuff/annotations/val2017/{name}.png", [[0]])
    outcome = prepare(plan(tmp_path, "val"), workers=1)
    assert outcome.written == 3
    assert outcome.failures == []
    assert outcome.notes[0].startswith(f"{tmp_path}/coco-stuff/images/val2017: no such folder")


def test_no_label_images(tmp_path):
    with pytest.raises(ValueError, match=r"coco-stuff/annotations/val2017: no label images .* stuffthingmaps_trainval"):
        plan(tmp_path, "val")


def test_all_256_values(tmp_path):
    path = save_label(tmp_path / "1.png", [list(range(256))], palette=True)
    with pytest.warns(UserWarning, match="no class of the set"):
        (labels,) = convert(path)
    assert sorted(set(labels.ravel().tolist())) == [*range(171), 255]
    assert np.flatnonzero(labels[0] == 255).tolist() == [*ABSENT, *range(182, 256)]
