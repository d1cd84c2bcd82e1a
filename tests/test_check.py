"""What `ovss datasets check` finds: sets that are absent, part, whole or broken, and pairs that are unsound."""

import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import save_label

from ovss.cli import main
from ovss.datasets import check, check_sets
from ovss.datasets.check import class_names, look, mistake, read_pair
from ovss.datasets.preparations import PREPARATIONS
from ovss.datasets.table import BENCHMARKS
from ovss.images import read_image
from ovss.palette import palette

ROWS = {row.name: row for row in BENCHMARKS}
VOC = ROWS["voc_20_val"]


def save_pairs(root: Path, row, names="abcd", values=((0, 1, 255), (1, 1, 0))):
    """Pairs of 3 x 2 pixels, in the first layout of a set."""
    pictures, labels = (root / folder for folder in row.layouts[0])
    pictures.mkdir(parents=True, exist_ok=True)
    for name in names:
        save_label(labels / f"{name}{row.label_suffix}", values)
        Image.new("RGB", (3, 2), "teal").save(pictures / f"{name}.jpg")
    return look(row, root).pairs


@pytest.fixture
def whole(monkeypatch, tmp_path):
    """VOC 2012 val as if it had four pictures, all of them there."""
    rows = tuple(replace(row, pictures=4) if row.name == "voc_20_val" else row for row in BENCHMARKS)
    monkeypatch.setattr(check_sets, "BENCHMARKS", rows)
    save_pairs(tmp_path / "root", VOC)
    return tmp_path


def run(folder: Path, *args) -> int:
    return main(["datasets", "check", *map(str, args), "--root", str(folder / "root"), "--output", str(folder / "out")])


def cells(output: str, name: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_whole_set_is_ready_and_drawn(whole, capsys):
    assert run(whole, "voc_20_val", "--all-files") == 0
    captured = capsys.readouterr()
    assert cells(captured.out, "voc_20_val") == ["voc_20_val", "part", "yes", "4", "4", ""]
    assert captured.err == ""
    assert [path.name for path in (whole / "out").iterdir()] == ["voc_20_val.png"]


def test_three_pairs_are_drawn_and_the_same_ones_each_time(whole, capsys):
    assert run(whole, "VOC20") == 0  # an official name
    first = (whole / "out/voc_20_val.png").read_bytes()
    assert "3 of the pairs" in capsys.readouterr().out
    assert run(whole, "voc_20_val") == 0
    assert (whole / "out/voc_20_val.png").read_bytes() == first
    picture = read_image(whole / "out/voc_20_val.png")
    teal = (abs(picture.astype(int) - (0, 128, 128)).max(axis=2) < 8).mean()
    assert teal > 0.2  # the photos above, where no tint is
    tint = (0.4 * np.array([0, 128, 128]) + 0.6 * palette(20)[1]).round()
    assert (abs(picture - tint).max(axis=2) < 8).mean() > 0.05


def test_without_a_name_all_sets_are_reported_and_nothing_fails(whole, capsys):
    assert run(whole) == 0
    captured = capsys.readouterr()
    assert {cells(captured.out, name)[2] for name in ROWS} == {"yes", "no"}
    assert cells(captured.out, "ade20k_847_val") == [
        *("ade20k_847_val", "no", "no", "", "2,000", "ovss datasets download ade20k_full")
    ]
    assert captured.err == ""


def test_named_set_that_is_absent_or_part_is_not_ready(tmp_path, capsys):
    assert run(tmp_path, "voc_20_val") == 1
    missing = "; no VOCdevkit/VOC2012/JPEGImages; no VOCdevkit/VOC2012/SegmentationClassAug"
    assert capsys.readouterr().err == f"ovss: voc_20_val: not prepared{missing}\n"
    save_pairs(tmp_path / "root", VOC)
    save_label(tmp_path / "root/VOCdevkit/VOC2012/SegmentationClassAug/a.png", [[0]])
    assert run(tmp_path, "voc_20_val") == 1
    captured = capsys.readouterr()
    assert cells(captured.out, "voc_20_val") == [
        *("voc_20_val", "yes", "part", "4", "1,449", "ovss datasets prepare voc --split val")
    ]
    assert "voc_20_val: 4 of 1,449 pictures: not the whole benchmark" in captured.err


def test_name_of_a_preparation_is_the_sets_that_it_makes_unasked(tmp_path, capsys):
    assert run(tmp_path, "voc", "coco_stuff_train") == 1
    output = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in output.splitlines() if line.startswith("| ")][1:] == [
        *("coco_stuff_train", "voc_20_val", "voc_20b_val", "voc_21_val")
    ]


def test_unknown_name(tmp_path, capsys):
    assert run(tmp_path, "cityscapes") == 2
    assert "no data set 'cityscapes'; there are coco_stuff_train," in capsys.readouterr().err


def test_file_without_a_partner_is_named(tmp_path, capsys):
    row = ROWS["ade20k_150_val"]
    save_pairs(tmp_path / "root", row)
    (tmp_path / "root" / row.layouts[0][1] / "b.png").unlink()
    assert run(tmp_path, row.name) == 1
    captured = capsys.readouterr()
    assert cells(captured.out, row.name)[2:4] == ["broken", "3"]
    assert "1 of 4 files in" in captured.err
    assert "b.jpg" in captured.err


def test_every_pair_is_read_when_asked(whole, capsys):
    """The damage is in the pair that is not drawn: found with --all-files alone."""
    assert run(whole, "voc_20_val") == 0
    labels = whole / "root" / VOC.layouts[0][1]
    drawn = random.Random(VOC.name).sample("abcd", 3)
    (other,) = set("abcd") - set(drawn)
    save_label(labels / f"{other}.png", [[0, 1, 2]])
    assert run(whole, "voc_20_val") == 0
    capsys.readouterr()
    assert run(whole, "voc_20_val", "--all-files") == 1
    error = capsys.readouterr().err
    assert f"{other}.png is 3 x 1 px, its picture" in error
    assert error.count("\n") == 1


def test_unsound_pairs_are_named_and_the_sound_one_is_drawn(whole, capsys):
    drawn = random.Random(VOC.name).sample("abcd", 3)
    labels = whole / "root" / VOC.layouts[0][1]
    save_label(labels / f"{drawn[0]}.png", [[0, 1, 20], [0, 0, 0]])
    (labels / f"{drawn[1]}.png").write_bytes((labels / f"{drawn[1]}.png").read_bytes()[:50])
    assert run(whole, "voc_20_val") == 1
    captured = capsys.readouterr()
    assert f"{drawn[0]}.png: 1 values are no class, the first is 20; expected 0 to 19, or 255" in captured.err
    assert f"{drawn[1]}.png: " in captured.err
    assert "1 of the pairs" in captured.out


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("voc_20_val", [[0, 19, 255]], ""),
        ("voc_20_val", [[0, 20, 21]], "2 values are no class, the first is 20; expected 0 to 19, or 255"),
        ("voc_20b_val", [[0, 20, 255]], ""),
        ("voc_21_val", [[0, 21, 255]], "the first is 21; expected 0 to 20, or 255"),
        ("coco_stuff_val", [[0, 170, 255]], ""),
        ("coco_stuff_val", [[0, 181, 255]], "the first is 181; expected 0 to 170"),
        ("coco_object_val", [[0, 170, 255]], ""),  # 170 and 255 are background there
        ("coco_object_val", [[0, 171, 255]], "the first is 171; expected 0 to 80"),
        ("pascal_context_60_val", [[0, 58, 255]], ""),
        ("ade20k_847_val", [[0, 846, 65535]], ""),
        ("ade20k_847_val", [[0, 847, 255]], "the first is 847; expected 0 to 846, or 65535"),
        ("pascal_context_459_val", [[0, 458, 459]], ""),  # 459 is "no label" in CAT-Seg's registration
        ("pascal_context_459_val", [[0, 458, 460]], "the first is 460; expected 0 to 458"),
    ],
)
def test_values_are_those_that_evaluation_reads(tmp_path, name, values, message):
    row = ROWS[name]
    (pair,) = save_pairs(tmp_path, row, "a")
    wide = np.array(values, np.uint16 if row.label_suffix == ".tif" else np.uint8)
    Image.fromarray(wide).save(pair["sem_seg_file_name"])
    Image.new("RGB", (3, 1)).save(pair["file_name"])
    assert message in mistake(row, pair)
    assert bool(message) == bool(mistake(row, pair))
    if not message:
        labels = read_pair(row, pair)[1]
        assert set(labels[labels != row.ignore_label]) <= set(range(len(class_names(row))))


@pytest.mark.parametrize(("name", "dtype"), [("voc_20_val", np.uint16), ("ade20k_847_val", np.uint8)])
def test_wrong_bit_depth(tmp_path, name, dtype):
    (pair,) = save_pairs(tmp_path, ROWS[name], "a")
    Image.fromarray(np.zeros((2, 3), dtype)).save(pair["sem_seg_file_name"])
    assert f"values of type {np.dtype(dtype)}, expected" in mistake(ROWS[name], pair)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_sources_are_those_that_preparation_reads(shared, tmp_path, name):
    shutil.copytree(shared / "samples/raw", tmp_path, dirs_exist_ok=True, copy_function=shutil.copyfile)
    row = next(row for row in BENCHMARKS if row.preparation == name and row.name.endswith("_val"))
    assert PREPARATIONS[name].plan(tmp_path, "val").items
    assert look(row, tmp_path).missing == ()
    labels = check._sources(row)[1][0]
    (tmp_path / labels).rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=re.escape(labels)):
        PREPARATIONS[name].plan(tmp_path, "val")
    assert look(row, tmp_path).missing == (labels,)


def test_samples_are_sound_under_every_name(shared, tmp_path, capsys):
    """What the official scripts made of real files, beside these."""
    for part in ("raw", "expected"):
        shutil.copytree(shared / "samples" / part, tmp_path / "root", dirs_exist_ok=True, copy_function=shutil.copyfile)
    assert run(tmp_path) == 0
    captured = capsys.readouterr()
    found = {name: cells(captured.out, name)[1:4] for name in ROWS}
    assert found["coco_stuff_val"] == ["yes", "part", "4"]
    assert found["pascal_context_459_val"] == ["yes", "part", "1"]
    assert found["ade20k_847_val"] == ["yes", "no", ""]  # the resized photos are not among the samples
    assert all("not the whole benchmark" in line for line in captured.err.splitlines())
    drawn = {path.stem for path in (tmp_path / "out").iterdir()}
    assert drawn == {name for name, (_, prepared, _) in found.items() if prepared == "part"}
