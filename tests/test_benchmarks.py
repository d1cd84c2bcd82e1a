"""Benchmarks in the catalog: words, facts and records under every name, and what is said where files are missing."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ovss.d2.catalog  # noqa: F401  enters them
from ovss.d2 import benchmarks
from ovss.d2.api import DatasetCatalog, MetadataCatalog
from ovss.datasets.pairs import read_labels
from ovss.datasets.table import BENCHMARKS, BY_NAME

CASES = [(row, layout, name) for row in BENCHMARKS for layout in row.layouts for name in row.all_names]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write pictures and labels of these stems into a layout below the root."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))

    def write(row, pictures, labels, layout=None):
        images, masks = (tmp_path / folder for folder in layout or row.layouts[0])
        for folder in (images, masks):
            folder.mkdir(parents=True, exist_ok=True)
        for stem in pictures:
            Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(images / f"{stem}.jpg")
        for stem in labels:
            wide = row.label_suffix == ".tif"
            Image.fromarray(np.zeros((4, 6), np.uint16 if wide else np.uint8)).save(masks / f"{stem}{row.label_suffix}")
        return images, masks

    return write


@pytest.mark.parametrize(("row", "layout", "name"), CASES, ids=lambda case: getattr(case, "name", str(case)))
def test_records_in_every_layout_under_every_name(row, layout, name, write):
    images, masks = write(row, "ba", "ab", layout)
    assert DatasetCatalog.get(name) == [
        {"file_name": str(images / f"{stem}.jpg"), "sem_seg_file_name": str(masks / f"{stem}{row.label_suffix}")}
        for stem in "ab"
    ]
    metadata = MetadataCatalog.get(name)
    assert (metadata.ignore_label, metadata.label_map) == (row.ignore_label, row.label_map)
    assert metadata.evaluator_type == "sem_seg"
    assert metadata.stuff_classes == list(metadata.vocabulary.classes)
    assert len(metadata.stuff_colors) == len(metadata.stuff_classes)


def test_all_are_registered():
    names = {name for row in BENCHMARKS for name in row.all_names}
    assert names <= set(DatasetCatalog.list())
    assert names == {name for name, _ in benchmarks.entries()}


def test_words_of_a_systems_name_are_its_variant():
    def word(name):
        return MetadataCatalog.get(name).stuff_classes[19]

    assert [word(name) for name in ("voc_20_val", "voc_2012_test_sem_seg", "voc_sem_seg_val", "VOC20")] == [
        *("tvmonitor", "tvmonitor", "tv", "tv")
    ]
    assert MetadataCatalog.get("voc_21_val").vocabulary.background[-4:] == ("beach", "hill", "rail", "fence")
    assert MetadataCatalog.get("VOC21").vocabulary.background[-3:] == ("beachhill", "rail", "fence")
    assert len(MetadataCatalog.get("COCO80_val").vocabulary.background) == 107
    assert MetadataCatalog.get("voc_2012_test_background_sem_seg").stuff_classes[18:] == [
        "train",
        "tvmonitor",
        "background",
    ]


def test_facts_of_the_registrations():
    coco = MetadataCatalog.get("coco_2017_test_stuff_all_sem_seg")
    ids = coco.stuff_dataset_id_to_contiguous_id
    assert (len(ids), ids[1], ids[90], ids[92], ids[182]) == (171, 0, 79, 80, 170)
    assert coco.stuff_colors[0] == [220, 20, 60]
    assert len({tuple(color) for color in coco.stuff_colors}) > 160, "stuff has the project's palette"
    assert MetadataCatalog.get("voc_20b_val").stuff_colors[19:] == [[0, 64, 128], [0, 0, 0]]
    assert not MetadataCatalog.get("coco_object_val").get("stuff_dataset_id_to_contiguous_id")


def test_the_root_is_that_of_the_moment(write, monkeypatch):
    row = BY_NAME["ade20k_150_val"]
    write(row, "a", "a")
    assert len(DatasetCatalog.get("ADE150")) == 1
    monkeypatch.setenv("DETECTRON2_DATASETS", "nowhere")
    with pytest.raises(ValueError, match=r"'ADE150' is not below .*nowhere"):
        DatasetCatalog.get("ADE150")


def test_missing_folders_name_the_commands(write):
    with pytest.raises(ValueError, match=r"'COCO171_train' is not below .*DETECTRON2_DATASETS") as error:
        DatasetCatalog.get("COCO171_train")
    for part in (
        str(Path("coco-stuff/annotations_detectron2/train2017")),
        str(Path("coco/stuffthingmaps_detectron2/train2017")),
        "ovss datasets prepare coco_stuff --split train",
        "ovss datasets download coco_stuff",
    ):
        assert part in str(error.value)


def test_lonely_files_are_named(write):
    _, masks = write(BY_NAME["voc_20_val"], "abc", "ab")
    (masks / "._a.png").write_bytes(b"what macOS leaves behind")
    assert len(DatasetCatalog.get("voc_20_val")) == 2, "JPEGImages holds the pictures of all sets"
    write(BY_NAME["voc_20_val"], "", "abx")
    with pytest.raises(ValueError, match=r"'VOC20': 1 of 3 files .* the first is x\.png; .*prepare voc --split val"):
        DatasetCatalog.get("VOC20")
    write(BY_NAME["coco_stuff_val"], "ab", "a")
    with pytest.raises(ValueError, match=r"1 of 2 files .* the first is b\.jpg"):
        DatasetCatalog.get("coco_object_val")


def test_a_part_of_a_set_is_said(write, caplog):
    write(BY_NAME["voc_20_val"], "ab", "ab")
    with caplog.at_level(logging.WARNING):
        DatasetCatalog.get("voc_20_val")
    assert "2 of 1,449 pictures: results are not those of the whole benchmark" in caplog.text


@pytest.mark.parametrize("name", ["coco_object_val", "coco_object_cliptrase_val", "pascal_context_60_val"])
def test_label_maps_as_they_are_read(name, tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "x.png")
    mapped = dict(BY_NAME[name].label_map)
    expected = [mapped.get(value, value) for value in range(256)]
    assert read_labels(str(tmp_path / "x.png"), BY_NAME[name].label_map).ravel().tolist() == expected


VALUES = st.integers(0, 65535)


@given(st.dictionaries(VALUES, VALUES, min_size=1, max_size=9), st.lists(VALUES, max_size=9))
def test_label_maps_are_applied_at_once(tmp_path_factory, mapped, others):
    """Equal to a dictionary, whatever the values: one that becomes another is not mapped again."""
    path = tmp_path_factory.getbasetemp() / "values.tif"
    values = [*mapped, *others]
    Image.fromarray(np.array([values], np.uint16)).save(path)
    found = read_labels(str(path), tuple(mapped.items()))
    assert found.tolist() == [[mapped.get(value, value) for value in values]]


def test_no_name_is_one_of_detectron2s():
    """Entering a name again would replace it."""
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    code = "from detectron2.data import DatasetCatalog; print(*DatasetCatalog.list())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    builtin = set(done.stdout.split())
    assert {"coco_2017_val", "voc_2012_val", "ade20k_sem_seg_val"} <= builtin
    assert not builtin & {name for name, _ in benchmarks.entries()}
