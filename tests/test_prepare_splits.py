"""`ovss datasets prepare` as a user meets it: exit codes, what is said, the scripts; and the real samples."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import read, save_label, save_pair

from ovss.cli import main
from ovss.datasets.preparations import PREPARATIONS

ROOT = Path(__file__).parent.parent


def prepare(root: Path, *arguments: str) -> int:
    return main(["datasets", "prepare", *arguments, "--root", str(root), "--workers", "1"])


@pytest.fixture
def coco(tmp_path) -> Path:
    for split in ("train", "val"):
        for name in "12":
            folders = f"annotations/{split}2017", f"images/{split}2017"
            save_pair(tmp_path / "coco-stuff", *folders, name, [[0, 181]])
    return tmp_path


def test_both_splits_and_a_second_run(coco, capsys):
    out = f"{coco}/coco-stuff/annotations_detectron2"
    assert prepare(coco, "coco_stuff") == 0
    assert read(Path(out) / "val2017/2.png") == [[0, 170]]
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"coco_stuff train: 2 written, 0 kept, 0 failed, in {out}/train2017",
        f"coco_stuff val: 2 written, 0 kept, 0 failed, in {out}/val2017",
    ]
    assert said.err.splitlines() == [
        "ovss: warning: coco_stuff train: 2 of 118,287 pictures: not the whole benchmark",
        "ovss: warning: coco_stuff val: 2 of 5,000 pictures: not the whole benchmark",
    ]
    assert prepare(coco, "coco_stuff", "--split", "val") == 0
    assert capsys.readouterr().out == f"coco_stuff val: 0 written, 2 kept, 0 failed, in {out}/val2017\n"


def test_dry_run_writes_nothing(coco, capsys):
    home = coco / "coco-stuff"
    save_label(home / "annotations_detectron2/val2017/1.png", [[0]])
    before = sorted(coco.rglob("*"))
    assert prepare(coco, "coco_stuff", "--split", "val", "--dry-run") == 0
    assert sorted(coco.rglob("*")) == before
    assert capsys.readouterr().out.splitlines() == [
        "coco_stuff val: 2 of 5,000 pictures",
        f"  reads  {home}/annotations/val2017",
        f"  reads  {home}/images/val2017",
        f"  writes {home}/annotations_detectron2/val2017: 2 files, 1 there, 1 to go",
    ]


def test_failures_are_exit_code_1(coco, capsys):
    path = coco / "coco-stuff/annotations/val2017/1.png"
    path.write_text("no picture")
    assert prepare(coco, "coco_stuff", "--split", "val") == 1
    told, warned, counted = capsys.readouterr().err.splitlines()
    assert told.startswith(f"ovss: failed: {path}: not a readable picture")
    assert warned.startswith("ovss: warning: ")
    assert counted.startswith(f"ovss: coco_stuff val: 1 failed, the first: {path}: not a readable picture")


def test_a_split_that_was_not_asked_for_may_be_absent(coco, capsys):
    shutil.rmtree(coco / "coco-stuff/annotations/train2017")
    assert prepare(coco, "coco_stuff") == 0
    assert "ovss: warning: coco_stuff: val alone, train is left out: " in capsys.readouterr().err
    assert prepare(coco, "coco_stuff", "--split", "train", "val") == 2


def mistakes(root: Path) -> dict[tuple[str, ...], str]:
    return {
        ("voc",): f"ovss: error: {root}/VOCdevkit/VOC2012/SegmentationClassAug: no label images",
        ("coco_stuff", "--split", "test"): "ovss: error: coco_stuff has no split 'test'; it has train, val",
    }


def test_mistakes_are_one_line_and_exit_code_2(tmp_path, capsys):
    for arguments, message in mistakes(tmp_path).items():
        assert prepare(tmp_path, *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "cityscapes"], "invalid choice: 'cityscapes'"),
        (["prepare"], "required: NAME"),
        ([], "required: ACTION"),
        (["prepare", "voc", "--workers", "0"], "'0': expected a whole number from 1 on"),
        (["prepare", "voc", "--workers", "two"], "'two': expected a whole number from 1 on"),
    ],
)
def test_bad_usage(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(["datasets", *arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_an_output_folder_that_is_a_file(coco, capsys):
    (coco / "coco-stuff/annotations_detectron2").write_text("mine")
    assert prepare(coco, "coco_stuff") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ovss: error: {coco}/coco-stuff/annotations_detectron2/train2017: cannot be written")


def test_the_root_is_detectron2s(coco, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(coco))
    assert main(["datasets", "prepare", "coco_stuff", "--split", "val", "--dry-run"]) == 0
    assert f"{coco}/coco-stuff" in capsys.readouterr().out


def test_scripts_need_no_argument_and_no_install(coco, tmp_path_factory):
    """From another folder, with the processes that the command starts by itself."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "datasets/prepare_coco_stuff.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={**environment, "DETECTRON2_DATASETS": str(coco)},
    )
    assert (done.returncode, done.stdout.count("2 written, 0 kept, 0 failed")) == (0, 2)


def test_every_set_has_its_script():
    for name in PREPARATIONS:
        script = (ROOT / f"datasets/prepare_{name}.py").read_text()
        assert f'"prepare", "{name}"' in script


SAMPLES = {
    "coco_stuff": ("coco-stuff", "annotations_detectron2", 6),
    "ade20k_150": ("ADEChallengeData2016", "annotations_detectron2", 2),
    "ade20k_full": ("ADE20K_2021_17_01", "annotations_detectron2", 2),
    "pascal_context_59": ("VOCdevkit/VOC2010", "annotations_detectron2/pc59_val", 1),
    "pascal_context_459": ("VOCdevkit/VOC2010", "annotations_detectron2/pc459_val", 1),
    "voc": ("VOCdevkit/VOC2012", "annotations_detectron2*", 4),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_real_samples_become_what_the_official_scripts_made_of_them(shared, tmp_path, name):
    samples, (folder, labels, count) = shared / "samples", SAMPLES[name]
    for path in (samples / "raw" / folder).rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(samples / "raw")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    assert prepare(tmp_path, name) == 0
    facts = json.loads((samples / "expected/expected.json").read_text())
    expected = [path for path in (samples / "expected" / folder).glob(f"{labels}/**/*") if path.is_file()]
    assert len(expected) == count
    for path in expected:
        where = path.relative_to(samples / "expected")
        with Image.open(tmp_path / where) as mine, Image.open(path) as theirs:
            assert mine.mode == theirs.mode
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))
            values, counts = np.unique(np.asarray(mine), return_counts=True)
        hist = facts[where.as_posix()]["hist"]
        assert dict(zip(map(str, values.tolist()), counts.tolist(), strict=True)) == hist
