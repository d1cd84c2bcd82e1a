"""The drawn scenes: determinism, exact labels, captions that say what is in sight, and files that are whole."""

import colorsys
import hashlib
import json
from multiprocessing import get_context

import cv2
import numpy as np
import pytest

from ovss.drawing import COLOURS, GROUNDS, SHAPES, shape_mask
from ovss.scenes import ALL, CLASSES, SEEN, SPLITS, UNSEEN, draw_scene, split_scene, write_split

HUES = {"red": 0, "yellow": 57, "green": 127, "cyan": 183, "blue": 233, "purple": 285}


def test_classes_are_36_pairs_and_4_grounds():
    assert len(ALL) == 36
    assert len(set(CLASSES)) == 40
    assert CLASSES == ALL + GROUNDS
    assert "red star" in ALL
    assert "brick wall" in GROUNDS


def test_every_colour_and_shape_is_both_seen_and_unseen():
    assert len(SEEN) == 28
    assert len(UNSEEN) == 8
    assert set(SEEN) | set(UNSEEN) == set(ALL)
    for word in COLOURS + SHAPES:
        assert any(word in pair.split() for pair in SEEN), word
        assert any(word in pair.split() for pair in UNSEEN), word


def test_a_scene_is_always_the_same():
    scene = split_scene("val", 0)
    digest = hashlib.sha256(scene.image.tobytes() + scene.labels.tobytes() + scene.caption.encode()).hexdigest()
    assert digest.startswith("1287e75f84201be0")
    assert scene.caption == "a green circle, a red star in front of the water"


def test_scenes_of_other_seeds_and_splits_differ():
    images = [split_scene(split, index).image for split in SPLITS for index in range(4)]
    assert len({image.tobytes() for image in images}) == len(images)


def test_form_of_a_scene():
    scene = draw_scene(5)
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == scene.labels.dtype == np.uint8
    assert scene.labels.shape == (128, 128)
    assert draw_scene(5, side=64).labels.shape == (64, 64)


@pytest.mark.parametrize("seed", range(40))
def test_the_caption_names_what_the_labels_show(seed):
    scene = draw_scene((7, seed))
    visible = {CLASSES[index] for index in np.unique(scene.labels)}
    assert visible == set(scene.names)
    assert {name for name in CLASSES if name in scene.caption} == visible
    assert 1 <= len(scene.names) - 1 <= 3


@pytest.mark.parametrize("split", SPLITS)
def test_labels_of_a_split_are_its_own_classes(split):
    for index in range(20):
        scene = split_scene(split, index)
        assert {SPLITS[split].classes[label] for label in np.unique(scene.labels)} == set(scene.names)


def test_objects_stay_in_sight_and_some_are_partly_hidden():
    areas = [np.bincount(draw_scene((8, i)).labels.ravel(), minlength=40)[:36] for i in range(200)]
    smallest = min(int(area[area > 0].min()) for area in areas)
    assert smallest > 60  # a star of radius 16 px, a quarter beyond the edge, 60 % of the rest in sight
    assert sum((area > 0).sum() >= 2 for area in areas) > 80


@pytest.mark.parametrize("colour", COLOURS)
def test_pixels_of_an_object_have_its_hue(colour):
    hues = []
    for seed in range(12):
        scene = draw_scene((9, seed), (f"{colour} square",))
        mask = (scene.labels == 0).astype(np.uint8)
        inside = cv2.erode(mask, np.ones((5, 5), np.uint8)).astype(bool)
        r, g, b = np.median(scene.image[inside], axis=0) / 255
        hues.append(colorsys.rgb_to_hsv(r, g, b)[0] * 360)
    distance = (np.array(hues) - HUES[colour] + 180) % 360 - 180
    assert np.abs(distance).max() < 22


def test_labels_end_where_the_object_ends():
    scene = draw_scene((9, 1), ("red square",))
    mask = (scene.labels == 0).astype(np.uint8)
    redness = scene.image[..., 0].astype(int) - scene.image[..., 2]
    rim = cv2.dilate(mask, np.ones((7, 7), np.uint8)) - cv2.dilate(mask, np.ones((3, 3), np.uint8))
    assert np.median(redness[mask.astype(bool)]) > np.median(redness[rim.astype(bool)]) + 60


def test_areas_of_the_shapes():
    areas = {shape: int(shape_mask(shape, 128, (64, 64), 30, 0).sum()) for shape in SHAPES}
    assert areas["circle"] == pytest.approx(np.pi * 30**2, rel=0.06)
    assert areas["square"] == pytest.approx(48**2, rel=0.06)  # half a side is 0.8 * 30
    assert areas["triangle"] == pytest.approx(3 * np.sqrt(3) / 4 * 37.5**2, rel=0.06)
    assert areas["ring"] == pytest.approx(np.pi * (31.5**2 - 16.8**2), rel=0.08)
    assert not shape_mask("ring", 128, (64, 64), 30, 0)[64, 64]
    assert shape_mask("cross", 128, (64, 64), 30, 0)[64, 64]


def test_a_quarter_turn_of_a_square_changes_nothing():
    np.testing.assert_array_equal(
        shape_mask("square", 128, (64, 64), 24, 10), shape_mask("square", 128, (64, 64), 24, 100)
    )


def test_seen_split_has_no_unseen_pair():
    seen = set()
    for index in range(300):
        seen |= set(split_scene("train_seen", index).names)
    assert seen == set(SEEN) | set(GROUNDS)


@pytest.mark.parametrize("pairs", [(), ("pink star",)])
def test_pairs_that_cannot_be_drawn(pairs):
    with pytest.raises(ValueError, match="cannot draw"):
        draw_scene(0, pairs)


def test_written_split_reads_back_and_stays(tmp_path):
    folder = write_split(tmp_path, "val", 3)
    names = [f"{i:06d}.png" for i in range(3)]
    assert sorted(path.name for path in (folder / "images").iterdir()) == names
    scene = split_scene("val", 1)
    np.testing.assert_array_equal(cv2.imread(str(folder / "images" / names[1]))[..., ::-1], scene.image)
    np.testing.assert_array_equal(cv2.imread(str(folder / "labels" / names[1]), cv2.IMREAD_UNCHANGED), scene.labels)
    assert json.loads((folder / "classes.json").read_text())["classes"] == list(CLASSES)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_split(tmp_path, "val", 3) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_many_processes_write_one_split(tmp_path):
    with get_context("spawn").Pool(3) as pool:
        folders = pool.starmap(write_split, [(tmp_path, "train_seen", 20)] * 3)
    assert len(set(folders)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [folders[0].name]
    assert len(list((folders[0] / "labels").iterdir())) == 20
    assert json.loads((folders[0] / "classes.json").read_text())["classes"] == [*SEEN, *GROUNDS]


def test_unknown_split(tmp_path):
    with pytest.raises(ValueError, match=r"'test'.*train_seen, val"):
        write_split(tmp_path, "test")
    assert not list(tmp_path.iterdir())
