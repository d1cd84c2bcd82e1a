"""PASCAL-Context 459: labels from MATLAB's maps, and what is wrong in maps and lists."""

import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.io import savemat
from small_sets import save_annotations

from ovss.datasets.detail import FOLDER
from ovss.datasets.pascal_context_459 import label, plan
from ovss.datasets.prepare import prepare

NAMES = ("2008_000002", "2008_000003")  # the first two of the official val
LABELS = f"{FOLDER}/annotations_detectron2/pc459_val"
VALUES = np.array([[1, 431, 459], [2, 2, 459]], np.uint16)


def write_map(root, name, values):
    path = root / FOLDER / "trainval" / f"{name}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"LabelMap": values})
    return path


@pytest.fixture
def root(tmp_path):
    """Two val pictures of 2 x 3 with their maps, and the list of them."""
    (tmp_path / FOLDER / "JPEGImages").mkdir(parents=True)
    for name in NAMES:
        write_map(tmp_path, name, VALUES)
        Image.new("RGB", (3, 2)).save(tmp_path / FOLDER / "JPEGImages" / f"{name}.jpg")
    (tmp_path / FOLDER / "pascalcontext_val.txt").write_text("\n".join(NAMES))
    return tmp_path


def read(path):
    return np.array(Image.open(path))


def test_labels_are_one_less(root):
    outcome = prepare(plan(root, "val"), workers=1)
    assert (outcome.written, outcome.failures) == (2, [])
    assert outcome.notes == ["2 of 5,104 pictures: not the whole benchmark"]
    written = read(root / LABELS / "2008_000002.tif")
    assert written.dtype == np.uint16
    assert written.tolist() == [[0, 430, 458], [1, 1, 458]]


def test_train_is_a_phase_of_the_annotation_file(tmp_path):
    save_annotations(tmp_path, {"2008_000008": ("train", (2, 3)), "2008_000002": ("val", (2, 3))}, [])
    write_map(tmp_path, "2008_000008", VALUES)
    outcome = prepare(plan(tmp_path, "train"), workers=1)
    assert (outcome.written, outcome.failures) == (1, [])
    assert read(tmp_path / FOLDER / "annotations_detectron2/pc459_train/2008_000008.tif")[0, 1] == 430


def test_without_a_list_what_there_is_of_the_official_val(root):
    (root / FOLDER / "pascalcontext_val.txt").unlink()
    write_map(root, "1999_000001", VALUES)
    outcome = prepare(plan(root, "val"), workers=1)
    assert (outcome.written, outcome.failures) == (2, [])
    assert re.search("pascalcontext_val.txt is not there; the official list .* was used", outcome.notes[0])
    assert re.search(r"5,102 label maps of that list are not there, the first is 2008_000007.mat", outcome.notes[1])
    shutil.rmtree(root / FOLDER / "trainval")
    write_map(root, "1999_000001", VALUES)
    with pytest.raises(ValueError, match="none of its label maps"):
        plan(root, "val")


@given(arrays(np.uint16, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.integers(0, 459)))
@pytest.mark.filterwarnings("ignore:label 0")
def test_every_class_is_one_less(tmp_path_factory, values):
    (labels,) = label(write_map(tmp_path_factory.getbasetemp(), "any", values))
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[value - 1 if value else 65535 for value in row] for row in values.tolist()]


def test_label_0_is_ignored_with_a_warning(root):
    """The first file is named; the others are counted."""
    for name in NAMES:
        write_map(root, name, np.array([[0, 0, 459]] * 2, np.uint16))
    outcome = prepare(plan(root, "val"), workers=1)
    assert outcome.failures == []
    assert read(root / LABELS / "2008_000002.tif").tolist() == [[65535, 65535, 458]] * 2
    (note,) = [note for note in outcome.notes if "label 0" in note]
    assert re.match("2 of 2 pictures: label 0 .* became 65535, unlabelled; the first is .*2008_000002.tif", note)


def test_another_list_of_val_is_told(root):
    (root / FOLDER / "pascalcontext_val.txt").write_text("2008_000002\n1999_000001\n")
    notes = plan(root, "val").notes
    assert len(notes) == 1
    assert notes[0].endswith("pascalcontext_val.txt: 1 pictures are not of the official val, the first is 1999_000001")


def test_label_460_is_no_class(root):
    path = write_map(root, NAMES[0], np.array([[1, 460, 2]] * 2, np.uint16))
    outcome = prepare(plan(root, "val"), workers=1)
    assert outcome.written == 1
    assert outcome.failures == [f"{path}: label 460; expected 1 to 459, and 0 where there is none"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "damaged"),
        (lambda path: savemat(path, {"labels": VALUES}), "it has no LabelMap; it has labels"),
        (lambda path: savemat(path, {"LabelMap": VALUES.T}), "2 x 3 px, its picture .* 3 x 2 px"),
    ],
)
def test_a_wrong_file_is_named_and_the_others_are_done(root, spoil, reason):
    spoil(root / FOLDER / "trainval/2008_000002.mat")
    outcome = prepare(plan(root, "val"), workers=1)
    assert (root / LABELS / "2008_000003.tif").is_file()
    assert len(outcome.failures) == 1
    assert re.search(f"2008_000002.(mat|tif).*{reason}", outcome.failures[0])


def test_no_label_maps(tmp_path):
    with pytest.raises(ValueError, match=r"trainval: no label maps \(.mat\) there; .*README"):
        plan(tmp_path, "val")
