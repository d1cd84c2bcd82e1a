"""The table of benchmarks: complete, without a clash, and true to the official registrations."""

from pathlib import Path

import pytest

from ovss.datasets.table import BENCHMARKS, root

ROWS = {row.name: row for row in BENCHMARKS}
# Name -> label folder below the root, label suffix: the registrations of CAT-Seg and of CLIPtrase's Detectron2 code.
OFFICIAL = {
    "coco_2017_train_stuff_all_sem_seg": ("coco-stuff/annotations_detectron2/train2017", ".png"),
    "coco_2017_test_stuff_all_sem_seg": ("coco-stuff/annotations_detectron2/val2017", ".png"),
    "ade20k_150_test_sem_seg": ("ADEChallengeData2016/annotations_detectron2/validation", ".png"),
    "ade20k_full_sem_seg_freq_val_all": ("ADE20K_2021_17_01/annotations_detectron2/validation", ".tif"),
    "voc_2012_test_sem_seg": ("VOCdevkit/VOC2012/annotations_detectron2/val", ".png"),
    "voc_2012_test_background_sem_seg": ("VOCdevkit/VOC2012/annotations_detectron2_bg/val", ".png"),
    "context_59_test_sem_seg": ("VOCdevkit/VOC2010/annotations_detectron2/pc59_val", ".png"),
    "context_459_test_sem_seg": ("VOCdevkit/VOC2010/annotations_detectron2/pc459_val", ".tif"),
    "coco_2017_train_stuff_sem_seg": ("coco/stuffthingmaps_detectron2/train2017", ".png"),
    "coco_2017_test_stuff_sem_seg": ("coco/stuffthingmaps_detectron2/val2017", ".png"),
    "ade20k_150_sem_seg_val": ("ADEChallengeData2016/annotations_detectron2/validation", ".png"),
    "ade20k_full_sem_seg_train": ("ADE20K_2021_17_01/annotations_detectron2/training", ".tif"),
    "ade20k_full_sem_seg_val": ("ADE20K_2021_17_01/annotations_detectron2/validation", ".tif"),
    "voc_sem_seg_train": ("VOC2012/annotations_detectron2/train", ".png"),
    "voc_sem_seg_val": ("VOC2012/annotations_detectron2/val", ".png"),
    "pcontext_sem_seg_train": ("pcontext/train/label", ".png"),
    "pcontext_sem_seg_val": ("pcontext/val/label", ".png"),
    "pcontext_full_sem_seg_train": ("pcontext_full/train/label", ".tif"),
    "pcontext_full_sem_seg_val": ("pcontext_full/val/label", ".tif"),
}
SCRIPT = ["ADE150", "ADEfull", "COCO80_val", "COCO171_val", "COCO171_train", "PC59", "PC60", "PC459", "VOC20", "VOC21"]


def row_of(name):
    (row,) = [row for row in BENCHMARKS if name in row.all_names]
    return row


def test_official_names_lead_to_official_folders():
    for name, (labels, suffix) in OFFICIAL.items():
        row = row_of(name)
        assert labels in [folder for _, folder in row.layouts], name
        assert row.label_suffix == suffix
    official = [name for row in BENCHMARKS for names in row.names.values() for name in names]
    assert sorted(official) == sorted([*OFFICIAL, *SCRIPT])


def test_no_name_twice():
    names = [name for row in BENCHMARKS for name in row.all_names]
    assert len(names) == len(set(names)) == 17 + 19 + 10


def test_numbers_of_pictures():
    assert {name: row.pictures for name, row in ROWS.items()} == {
        "coco_stuff_train": 118287, "coco_stuff_val": 5000, "coco_object_val": 5000, "coco_object_cliptrase_val": 5000,
        "ade20k_150_train": 20210, "ade20k_150_val": 2000, "ade20k_847_train": 25574, "ade20k_847_val": 2000,
        "pascal_context_59_train": 4996, "pascal_context_59_val": 5104, "pascal_context_60_val": 5104,
        "pascal_context_459_train": 4996, "pascal_context_459_val": 5104,
        "voc_20_train": 10582, "voc_20_val": 1449, "voc_20b_val": 1449, "voc_21_val": 1449,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coco_object_val", {0: 0, 79: 79, 80: 80, 81: 80, 170: 80, 255: 80}),
        ("coco_object_cliptrase_val", {0: 0, 79: 79, 80: 80, 81: 255, 170: 255, 255: 80}),
        ("pascal_context_60_val", {0: 0, 58: 58, 255: 59}),
        ("pascal_context_459_val", {458: 458, 459: 65535, 65535: 65535}),
        ("voc_20b_val", {20: 20, 255: 255}),
    ],
)
def test_label_maps(name, expected):
    mapped = dict(ROWS[name].label_map)
    assert {value: mapped.get(value, value) for value in expected} == expected


def test_first_layout_with_both_folders_is_used(tmp_path):
    row = ROWS["coco_stuff_val"]
    ours, theirs = [tuple(tmp_path / folder for folder in layout) for layout in row.layouts]
    assert row.folders(tmp_path) is None
    ours[0].mkdir(parents=True)
    for folder in theirs:
        folder.mkdir(parents=True)
    assert row.folders(tmp_path) == theirs, "pictures alone are no layout"
    ours[1].mkdir(parents=True)
    assert row.folders(tmp_path) == ours


def test_photos_are_shared_where_the_folder_holds_those_of_other_sets():
    shared = {row.name for row in BENCHMARKS if row.shared_pictures}
    assert shared == {row.name for row in BENCHMARKS if row.layouts[0][0].endswith("/JPEGImages")}
    assert len(shared) == 9


def test_root(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data")
    assert root() == Path("/data")
    monkeypatch.setenv("DETECTRON2_DATASETS", "")
    assert root() == Path("datasets")


def test_the_readme_names_every_set():
    text = (Path(__file__).parent.parent / "datasets/README.md").read_text(encoding="utf-8")
    for row in BENCHMARKS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{row.name}` |")]
        assert f"| {row.pictures:,} |" in line
        assert all(f"`{name}`" in line for names in row.names.values() for name in names)
