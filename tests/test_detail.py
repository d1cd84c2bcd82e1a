"""PASCAL-Context's annotation file: what is read of it, and every other shape is a mistake that names the file."""

import json

import pytest
from small_sets import region, save_annotations

from ovss.datasets import detail
from ovss.datasets.detail import FILE, Picture, read_pictures

GOOD = {"image_id": 0, "file_name": "2008_000002.jpg", "height": 2, "width": 3, "phase": "val"}
REGION = region(0, 2, (2, 3), [6])


def test_pictures_of_a_phase_with_their_regions_in_order(tmp_path):
    regions = [region(1, 5, (4, 4), [16]), REGION, region(0, 9, (2, 3), "6"), region(77, 9, (2, 3), [6])]
    save_annotations(tmp_path, {"2008_000002": ("val", (2, 3)), "2008_000003": ("train", (4, 4))}, regions)
    masks = [{"size": [2, 3], "counts": [6]}, {"size": [2, 3], "counts": "6"}]
    assert read_pictures(tmp_path, "val") == [Picture("2008_000002", 2, 3, [(2, masks[0]), (9, masks[1])])]
    assert [picture.name for picture in read_pictures(tmp_path, "train")] == ["2008_000003"]


def write(root, text):
    (root / FILE).parent.mkdir(parents=True)
    (root / FILE).write_text(text)


@pytest.mark.parametrize(
    ("images", "regions", "reason"),
    [
        (None, [], 'no list "images" of objects'),
        ({}, [], 'no list "images" of objects'),
        ([1], [], 'no list "images" of objects'),
        ([GOOD], None, 'no list "annos_segmentation" of objects'),
        ([{"phase": "val"}], [], "an entry without 'image_id'"),
        ([{**GOOD, "image_id": []}], [], "unhashable"),
        ([{**GOOD, "file_name": "../x.jpg"}], [], "'../x.jpg' cannot be the name of a picture"),
        ([{**GOOD, "file_name": "x.png"}], [], "'x.png' cannot be the name of a picture"),
        ([{**GOOD, "file_name": 7}], [], "expected string"),
        ([{**GOOD, "height": 0}], [], "2008_000002.jpg has height 0 and width 3, expected 1 to 10000"),
        ([{**GOOD, "width": 10**9}], [], "height 2 and width 1000000000"),
        ([{**GOOD, "width": 3.0}], [], "height 2 and width 3.0"),
        ([GOOD, {**GOOD, "image_id": 1}], [], "two pictures named 2008_000002.jpg"),
        ([{**GOOD, "phase": "test"}], [], "no picture of phase 'val'"),
        ([GOOD], [{"image_id": 0, "category_id": 2}], "an entry without 'segmentation'"),
        ([GOOD], [{**REGION, "category_id": "2"}], "a region of category '2' whose segmentation is a dict"),
        ([GOOD], [{**REGION, "segmentation": [[0, 0, 1, 1]]}], "a region of category 2 whose segmentation is a list"),
    ],
)
def test_another_shape_is_named(tmp_path, images, regions, reason):
    write(tmp_path, json.dumps({"images": images, "annos_segmentation": regions}))
    with pytest.raises(ValueError, match=f"trainval_merged.json: .*{reason}"):
        read_pictures(tmp_path, "val")


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "<html>", "\N{BYTE ORDER MARK}{}"])
def test_damaged_json_is_named(tmp_path, text):
    write(tmp_path, text)
    with pytest.raises(ValueError, match=r"trainval_merged.json: damaged JSON: "):
        read_pictures(tmp_path, "val")


def test_limits_and_absence(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"trainval_merged.json: no such file; .*README"):
        read_pictures(tmp_path, "val")
    write(tmp_path, "[1, 2, 3, 4]")
    monkeypatch.setattr(detail, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match=r"trainval_merged.json: 12 bytes, more than the limit of 10"):
        read_pictures(tmp_path, "val")
