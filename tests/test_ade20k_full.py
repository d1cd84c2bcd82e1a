"""ADE20K-847: labels and pictures by rules that are counted by hand; test_prepare_splits.py has real ones."""

import os
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ovss.class_file import read_class_file
from ovss.datasets.ade20k_full import class_index, convert, plan, resized
from ovss.datasets.prepare import prepare
from ovss.datasets.table import CLASSES

FOLDER = "ADE20K_2021_17_01"
PICTURES = f"{FOLDER}/images/ADE/validation/street"
IDS = read_class_file(CLASSES / "ade20k_847.json").ids


def colors_of(indices, instances=0):
    """The annotation (H,W,3) in which each pixel has a class index."""
    colors = np.stack([indices // 256 * 10, indices % 256, np.full_like(indices, instances)], axis=2)
    return colors.astype(np.uint8)


def write_pair(root, name, picture, colors):
    folder = root / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{name}.jpg", quality=95)
    Image.fromarray(colors).save(folder / f"{name}_seg.png")
    return folder / f"{name}.jpg"


def grey(height, width):
    return np.full((height, width, 3), 100, np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two val pictures of 4 x 6 and one of train: walls (2978) on the left, right of it no annotation, or no class."""
    indices = np.full((4, 6), 2978)
    indices[:, 3:] = [0, 1, 3688]
    names = ["ADE_val_00000001", "ADE_train_00000001", "ADE_val_00000002"]
    for name in names:
        write_pair(tmp_path, name, grey(4, 6), colors_of(indices, instances=7))
    index = {"filename": [f"{name}.jpg" for name in names], "folder": [PICTURES] * 3, "scene": ["/street"] * 3}
    (tmp_path / FOLDER / "index_ade20k.pkl").write_bytes(pickle.dumps(index))
    return tmp_path


@pytest.mark.parametrize(
    ("split", "folder", "names"),
    [
        ("val", "validation", ["ADE_val_00000001", "ADE_val_00000002"]),
        ("train", "training", ["ADE_train_00000001"]),
    ],
)
def test_labels_and_pictures_of_a_split(root, split, folder, names):
    outcome = prepare(plan(root, split), workers=1)
    assert (outcome.written, outcome.failures) == (2 * len(names), [])
    labels, pictures = (root / FOLDER / f"{kind}_detectron2" / folder for kind in ("annotations", "images"))
    assert sorted(os.listdir(labels)) == [f"{name}.tif" for name in names]
    assert sorted(os.listdir(pictures)) == [f"{name}.jpg" for name in names]
    label = np.array(Image.open(labels / f"{names[0]}.tif"))
    assert label.dtype == np.uint16
    assert label.tolist() == [[0, 0, 0, 65535, 65535, 65535]] * 4


def test_pictures_are_stored_at_pillows_own_quality(root):
    """75: published scores contain what it loses."""
    prepare(plan(root, "val"), workers=1)
    Image.fromarray(grey(4, 6)).save(root / "75.jpg", quality=75)
    with Image.open(root / f"{FOLDER}/images_detectron2/validation/ADE_val_00000001.jpg") as picture:
        assert picture.size == (6, 4)
        with Image.open(root / "75.jpg") as expected:
            assert picture.quantization == expected.quantization


def test_the_847_classes_in_their_order(tmp_path):
    """Every id of the list, in a picture of one row, becomes its place in the list."""
    indices = np.array([IDS])
    label, _ = convert(write_pair(tmp_path, "ADE_val_1", grey(1, 847), colors_of(indices)), IDS)
    assert label.tolist() == [list(range(847))]
    assert (IDS[0], min(IDS), max(IDS)) == (2978, 6, 3156)


@given(arrays(np.uint8, (3, 4, 3)))
def test_class_index_pixel_by_pixel(colors):
    expected = [[int(red / 10) * 256 + green for red, green, _ in row] for row in colors.tolist()]
    assert class_index(colors).tolist() == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1536, 2048), (512, 683)),
        ((1650, 2200), (512, 683)),
        ((1467, 2200), (512, 768)),
        ((2200, 1467), (768, 512)),
        ((512, 4000), (512, 4000)),
        ((600, 600), (512, 512)),
        ((1024, 1025), (512, 512)),  # 512.5
        ((1024, 1027), (512, 514)),  # 513.5
    ],
)
def test_sizes(size, expected):
    """The first three are those of real pictures. Halves go to the even number, as Python rounds."""
    assert resized(*size) == expected


def bilinear(old, new):
    """The weights (new,old) of the pixels of a side in each of fewer pixels."""
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(old)))


@settings(max_examples=8)
@given(st.integers(513, 560), st.integers(513, 700), st.integers(0, 2**32 - 1))
def test_resizing_takes_the_nearest_label_and_mixes_the_picture(tmp_path_factory, height, width, seed):
    """Labels: the pixel at floor(i old / new). Picture: the mean of four pixels around (i + 1/2) old / new - 1/2."""
    generator = np.random.default_rng(seed)
    indices, noise = generator.choice(IDS, (height, width)), generator.integers(0, 256, (height, width), np.uint8)
    path = write_pair(tmp_path_factory.mktemp("pair"), "ADE_val_1", noise, colors_of(indices))
    label, picture = convert(path, IDS)
    sides = [(np.arange(new), new / old) for old, new in zip((height, width), label.shape, strict=True)]
    rows, columns = (np.floor(place * (1 / scale)).astype(int) for place, scale in sides)
    assert np.array_equal(np.array(IDS)[label], indices[rows][:, columns])
    vertical, horizontal = (bilinear(old, len(place)) for old, (place, _) in zip(noise.shape, sides, strict=True))
    stored = np.asarray(Image.open(path), float)
    assert np.abs(picture - vertical @ stored @ horizontal.T).max() < 1


def test_a_grey_photo_stays_grey(root):
    """As by the official script."""
    write_pair(root, "ADE_val_00000002", np.full((4, 6), 90, np.uint8), colors_of(np.zeros((4, 6), int)))
    assert prepare(plan(root, "val"), workers=1).failures == []
    with Image.open(root / f"{FOLDER}/images_detectron2/validation/ADE_val_00000002.jpg") as picture:
        assert (picture.mode, picture.size, picture.getextrema()) == ("L", (6, 4), (90, 90))


def test_a_photo_too_large_to_decode(tmp_path, monkeypatch):
    path = write_pair(tmp_path, "ADE_val_1", grey(4, 6), colors_of(np.zeros((4, 6), int)))
    monkeypatch.setattr("ovss.images.MAX_PIXELS", 23)
    with pytest.raises(ValueError, match=r"1\.jpg: 6 x 4 = 24 pixels, more than the limit of 23"):
        convert(path, IDS)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda picture, seg: seg.unlink(), "1_seg.png: no such file"),
        (lambda picture, seg: picture.unlink(), "1.jpg: no such file"),
        (lambda picture, seg: truncate(seg), "1_seg.png: "),
        (lambda picture, seg: truncate(picture), "1.jpg: "),
        (lambda picture, seg: seg.write_bytes(b"P6 1 1 255 abc"), "1_seg.png: cannot identify"),
        (lambda picture, seg: Image.new("L", (6, 4)).save(seg), "1_seg.png: its mode is L, expected RGB or RGBA"),
        (
            lambda picture, seg: Image.new("RGB", (4, 6)).save(seg),
            "1_seg.png is 4 x 6 px, its picture .*1.jpg 6 x 4 px",
        ),
    ],
)
def test_a_wrong_file_is_named_and_the_others_are_done(root, spoil, reason):
    picture = root / PICTURES / "ADE_val_00000001.jpg"
    spoil(picture, picture.with_name("ADE_val_00000001_seg.png"))
    outcome = prepare(plan(root, "val"), workers=1)
    assert outcome.written == 2
    assert len(outcome.failures) == 1
    assert re.search(reason, outcome.failures[0])
    assert not (root / FOLDER / "annotations_detectron2/validation/ADE_val_00000001.tif").exists()
