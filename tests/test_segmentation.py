"""What a segmentation says of itself, and the files that it becomes: each read back by the library of its format."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from ovss.palette import palette
from ovss.segmentation import Segmentation
from ovss.vocabulary import Vocabulary

CLASSES = ("red", "green", "blue")


def made(**changes) -> Segmentation:
    """8 x 12: class 0 on the left third, class 2 elsewhere."""
    labels = np.where(np.arange(12) < 4, 0, 2)[None].repeat(8, axis=0)
    image = np.full((8, 12, 3), 100, np.uint8)
    parts = {"labels": labels, "scores": np.ones((8, 12), np.float32), "classes": CLASSES, "image": image}
    return Segmentation(**{**parts, "file": "photos/ä.png", **changes})


def test_areas_are_shares_of_all_classes():
    assert made().areas() == {"red": pytest.approx(1 / 3), "green": 0.0, "blue": pytest.approx(2 / 3)}
    assert list(made().areas()) == list(CLASSES)


def test_overlay_leaves_only_the_merged_background_untinted():
    labels = np.zeros((600, 800), np.int64)
    labels[:, 400:] = 1
    classes = Vocabulary.from_words(["cat"], background=["wall", "sky"]).classes
    found = made(labels=labels, classes=classes, image=np.full((600, 800, 3), 100, np.uint8))
    drawn = np.asarray(found.overlay())
    np.testing.assert_array_equal(drawn[300, 700], [100, 100, 100])
    np.testing.assert_array_equal(drawn[300, 100], np.round(0.4 * 100 + 0.6 * palette(1)[0]))
    np.testing.assert_array_equal(np.asarray(found.overlay(opacity=0))[300, 100], [100, 100, 100])
    assert found.overlay(legend=False).size == (800, 600) != found.overlay().size


def test_save_writes_what_is_asked_for(tmp_path):
    record = made().save(tmp_path / "new", "a")
    assert sorted(os.listdir(tmp_path / "new")) == ["a.json", "a_labels.png", "a_overlay.jpg"]
    assert json.loads((tmp_path / "new/a.json").read_text(encoding="utf-8")) == record
    assert record == {
        "file": "photos/ä.png",
        "width": 12,
        "height": 8,
        "classes": list(CLASSES),
        "areas": made().areas(),
    }
    with Image.open(tmp_path / "new/a_labels.png") as labels:
        np.testing.assert_array_equal(np.asarray(labels), made().labels)
    with Image.open(tmp_path / "new/a_overlay.jpg") as drawn:
        assert drawn.size[0] >= 512


def test_the_name_is_the_files_own(tmp_path):
    made().save(tmp_path, outputs=["labels"])
    made(file="").save(tmp_path, outputs=[])
    assert sorted(os.listdir(tmp_path)) == ["picture.json", "ä.json", "ä_labels.png"]


def test_panoptic_picture_and_its_segments(tmp_path):
    labels = np.zeros((4, 6), np.int64)
    labels[1:3, 2:5] = 700  # needs two bytes of its colour
    found = made(labels=labels, classes=tuple(map(str, range(701))), image=np.zeros((4, 6, 3), np.uint8))
    record = found.save(tmp_path, "a", ["panoptic"])
    pixels = np.asarray(Image.open(tmp_path / "a_panoptic.png")).astype(int)
    ids = pixels[..., 0] + 256 * pixels[..., 1] + 256**2 * pixels[..., 2]
    np.testing.assert_array_equal(ids, labels + 1)
    assert record["segments_info"] == [
        {"id": 1, "category_id": 0, "area": 18, "bbox": [0, 0, 6, 4], "iscrowd": 0},
        {"id": 701, "category_id": 700, "area": 6, "bbox": [2, 1, 3, 2], "iscrowd": 0},
    ]


def test_run_lengths_decode_to_the_labels(tmp_path):
    record = made().save(tmp_path, "a", ["rle"])
    assert os.listdir(tmp_path) == ["a.json"]
    assert [entry["category_id"] for entry in record["rle"]] == [0, 2]
    for entry in record["rle"]:
        np.testing.assert_array_equal(coco_mask.decode(entry["segmentation"]), made().labels == entry["category_id"])


def test_probabilities_are_kept_in_half_precision_and_hold_no_pickle(tmp_path):
    values = np.random.default_rng(0).random((3, 8, 12)).astype(np.float32)
    made(probabilities=values).save(tmp_path, "a", ["probabilities"])
    with np.load(tmp_path / "a_probabilities.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["probabilities"], values.astype(np.float16))
        assert tuple(arrays["classes"]) == CLASSES
    with pytest.raises(ValueError, match="probabilities were not kept"):
        made().save(tmp_path, "b", ["probabilities"])
    with pytest.raises(ValueError, match="unknown output 'film' of a picture; known: overlay, labels"):
        made().save(tmp_path, "b", ["film"])
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a_probabilities.npz"]


def test_a_failed_save_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fail(self, file, *args, **options):
        file.write(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        made().save(tmp_path, "a")
    assert os.listdir(tmp_path) == []
