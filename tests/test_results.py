"""What an evaluation leaves behind: every file, by hand and against counting one by one; and what a full disk costs."""

import csv
import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from ovss import hub
from ovss.d2 import catalog
from ovss.d2.api import DatasetCatalog, MetadataCatalog, build_model
from ovss.d2.evaluator import evaluate
from ovss.d2.sem_seg_evaluator import SemSegEvaluator, category_ids
from ovss.files import check_writable
from ovss.metrics import Scores, per_class_table
from ovss.predictions import LabelPictures, check_stems, segments
from ovss.results import results_table
from ovss.vocabulary import Vocabulary

ROOT = Path(__file__).parent.parent
NAMES = ["wall", 'the "sea", blue', "sky"]


@pytest.fixture
def made():
    """A registered data set without files: labels come with the inputs."""
    catalog.register("made", lambda: [], Vocabulary(tuple((name,) for name in NAMES)), 255)
    yield
    DatasetCatalog.remove("made")
    MetadataCatalog.remove("made")


def one(name, labels):
    return {"file_name": f"pictures/{name}.jpg", "sem_seg_file_name": f"{name}.png", "sem_seg": torch.tensor(labels)}


def answer(labels):
    return {"labels": torch.tensor(labels), "scores": torch.ones(len(labels), len(labels[0]))}


PIXELS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 255])), min_size=1, max_size=9)
PICTURES = {"b": ([[0, 0, 1], [255, 1, 1]], [[0, 1, 1], [2, 1, 1]]), "a": ([[255], [255]], [[0], [2]])}


def processed(folder, **settings):
    """The evaluator of "made" that has seen all pictures."""
    evaluator = SemSegEvaluator("made", output_dir=str(folder), **settings)
    for name, (target, found) in {**PICTURES, "b again": PICTURES["b"]}.items():  # samplers may repeat a picture
        evaluator.process([one(name.removesuffix(" again"), target)], [answer(found)])
    return evaluator


def run(folder, **settings):
    return processed(folder, **settings).evaluate()["sem_seg"]


@pytest.mark.usefixtures("made")
def test_files_by_hand(tmp_path):
    summary = run(tmp_path, protocol={"protocol": "CAT-Seg", "prompts": "1 (single)"})
    # Twice: wall 1 of 2 right, one of its pixels taken for the sea, whose 3 are right.
    assert summary["mIoU_gt"] == pytest.approx((50 + 75) / 2)
    stored = json.loads((tmp_path / "made.json").read_text())
    assert stored["scores"] == summary
    assert (stored["pictures"], stored["confusion"]) == (2, [[2, 2, 0], [0, 6, 0], [0, 0, 0]])
    assert stored["protocol"] == {"protocol": "CAT-Seg", "prompts": "1 (single)"}
    assert stored["IoU"][2] is stored["accuracy"][2] is None
    tables = (tmp_path / "made.md").read_text().splitlines()
    assert tables[2].startswith("| made | 62.50 |")
    assert tables[3:8] == ["", "- protocol: CAT-Seg", "- prompts: 1 (single)", "", "| class | IoU | accuracy |"]
    assert tables[9:] == ["| wall | 50.00 | 50.00 |", '| the "sea", blue | 75.00 | 100.00 |', "| sky | - | - |"]
    with open(tmp_path / "made.csv", newline="", encoding="utf-8") as file:
        assert [*csv.reader(file)] == [
            ["class", "IoU", "accuracy", "pixels", "predicted_pixels"],
            ["wall", "50.0000", "50.0000", "4", "2"],
            ['the "sea", blue', "75.0000", "100.0000", "6", "8"],
            ["sky", "", "", "0", "0"],
        ]
    assert (tmp_path / "made_pictures.csv").read_text().splitlines() == [
        "file,mIoU_gt,pAcc,pixels",
        "pictures/a.jpg,,,0",
        "pictures/b.jpg,62.5000,80.0000,5",
    ]
    assert sorted(os.listdir(tmp_path)) == ["made.csv", "made.json", "made.md", "made_pictures.csv"]


@pytest.mark.usefixtures("made")
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(PIXELS, min_size=1, max_size=6))
def test_equals_counting_one_by_one(pictures):
    evaluator = SemSegEvaluator("made")
    for index, pairs in enumerate(pictures):
        found, target = zip(*pairs, strict=True)
        evaluator.process([one(str(index), [target])], [answer([found])])
    pairs = [pair for picture in pictures for pair in picture if pair[1] != 255]
    if not pairs:
        with pytest.raises(ValueError, match="not a single labelled pixel"):
            evaluator.evaluate()
        return
    summary = evaluator.evaluate()["sem_seg"]
    assert summary["mIoU_gt"] == pytest.approx(by_counting(pairs, {true for _, true in pairs}))
    assert summary["mIoU_union"] == pytest.approx(by_counting(pairs, {k for pair in pairs for k in pair}))
    assert summary["pAcc"] == pytest.approx(100 * sum(found == true for found, true in pairs) / len(pairs))
    for index, picture in enumerate(pictures):
        own = [pair for pair in picture if pair[1] != 255]
        row = evaluator.pictures[f"pictures/{index}.jpg"]
        assert row.pixels == len(own)
        assert row.mIoU_gt == pytest.approx(by_counting(own, {true for _, true in own}), nan_ok=True)


def by_counting(pairs, classes):
    """Mean IoU over classes, in percent."""
    values = [sum(f == t == k for f, t in pairs) / sum(k in (f, t) for f, t in pairs) for k in classes]
    return 100 * sum(values) / len(values) if values else math.nan


@pytest.mark.usefixtures("made")
def test_a_file_that_cannot_be_written_costs_no_other(tmp_path, caplog):
    (tmp_path / "made.json").mkdir()
    evaluator = processed(tmp_path, save_predictions=True)
    with caplog.at_level("INFO"):
        evaluator.evaluate()
    (failed,) = evaluator.not_written
    assert failed.startswith(f"{tmp_path / 'made.json'} (")
    logged = [record.message for record in caplog.records]
    assert "mIoU_gt 62.50" in logged[1]
    assert "made.json was not written" in logged[2]
    assert not any(record.exc_info for record in caplog.records), "a full disk needs no place in the code"
    found = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert found == {"made.md", "made.csv", "made_pictures.csv", "made_predictions.json"}


@pytest.mark.usefixtures("made")
def test_label_pictures_stay_when_the_run_breaks(tmp_path):
    evaluator = SemSegEvaluator("made", output_dir=str(tmp_path), save_labels=True)
    target, found = PICTURES["b"]
    evaluator.process([one("b", target)], [answer(found)])
    with pytest.raises(ValueError, match=r"label image c\.png: class 7 in the target"):
        evaluator.process([one("c", [[7]])], [answer([[1]])])
    with Image.open(tmp_path / "made_labels/b.png") as image:
        assert np.asarray(image).tolist() == found
    assert sorted(os.listdir(tmp_path / "made_labels")) == ["b.png", "c.png"]


@pytest.mark.usefixtures("made")
def test_scores_of_a_run_that_breaks_are_kept(tmp_path):
    evaluator = SemSegEvaluator("made", output_dir=str(tmp_path))
    evaluator.keep_unfinished()  # nothing was counted
    assert not list(tmp_path.iterdir())
    target, found = PICTURES["b"]
    evaluator.process([one("b", target)], [answer(found)])
    with pytest.raises(ValueError, match=r"label image c\.png"):
        evaluator.process([one("c", [[7]])], [answer([[1]])])
    evaluator.keep_unfinished()
    kept = {path.name: path.read_bytes() for path in (tmp_path / "unfinished/made/process_0").iterdir()}
    assert set(kept) == {"made.json", "made.md", "made.csv", "made_pictures.csv"}
    evaluator.evaluate()  # of the one picture that was counted
    assert all((tmp_path / name).read_bytes() == content for name, content in kept.items())
    assert not (tmp_path / "unfinished").exists(), "the run has ended well"
    evaluator.keep_unfinished()
    assert not (tmp_path / "unfinished").exists()


def test_label_pictures_of_one_name(tmp_path):
    pictures = LabelPictures(tmp_path)
    pictures.write(np.full((2, 2), 846), "one/a.jpg")
    pictures.write(np.full((2, 2), 845), "one/a.jpg")
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image).tolist() == [[845, 845]] * 2
    check_stems(["one/a.jpg", "one/b.jpg", "one/a.jpg"])
    with pytest.raises(ValueError, match=r"one/a\.jpg and two/a\.png would both be a\.png"):
        check_stems(["one/a.jpg", "one/b.jpg", "two/a.png"])
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ValueError, match=r"label picture .*b\.png cannot be written"):
        pictures.write(np.zeros((2, 2), int), "b.jpg")


def test_segments_decode_to_the_labels():
    labels = np.random.default_rng(0).integers(0, 5, (13, 7))
    labels[labels == 3] = 0
    found = segments(labels, "a.jpg", {index: 10 * index for index in range(5)})
    assert [entry["category_id"] for entry in found] == [0, 10, 20, 40]
    for entry in json.loads(json.dumps(found)):
        mask = coco_mask.decode(entry["segmentation"])
        np.testing.assert_array_equal(mask, labels == entry["category_id"] // 10)
    assert segments(labels, "a.jpg")[-1]["category_id"] == 4


def test_categories_of_a_benchmark_are_its_own():
    ids = category_ids(MetadataCatalog.get("coco_stuff_val"))
    assert (ids[0], ids[11], ids[170]) == (1, 13, 182)  # person, stop sign, wood
    assert category_ids(MetadataCatalog.get("ade20k_150_val")) is None
    words = {"vocabulary": Vocabulary.from_words(["a"], ["sky"]), "stuff_dataset_id_to_contiguous_id": {7: 0}}
    assert category_ids(MetadataCatalog.get("with background").set(**words)) == {0: 7, 1: 0}
    MetadataCatalog.remove("with background")


def test_results_table():
    table = results_table({"x": {"mIoU_gt": 12.346, "pAcc": 50.0}, "y": {"pAcc": 1.0}}, {"protocol": "CAT-Seg"})
    assert table.splitlines() == [
        "| data set | mIoU_gt | pAcc |",
        "|---|---:|---:|",
        "| x | 12.35 | 50.00 |",
        "| y | - | 1.00 |",
        "",
        "- protocol: CAT-Seg",
    ]


def test_long_tables_are_short_in_the_log():
    iou = (math.nan, *(float(value) for value in range(99)))
    result = Scores(0, 0, 0, 0, 0, 0, IoU=iou, accuracy=iou)
    names = [f"c{index}" for index in range(100)]
    lines = per_class_table(result, names, most=9).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:8]] == ["| c99", "| c98", "| c97", "| c3", "| c2", "| c1"]
    assert lines[-1] == "6 of 100 classes: the best and the worst of 99 with an IoU"
    assert per_class_table(result, names, most=100) == per_class_table(result, names)


def test_a_folder_that_takes_nothing_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"nothing can be written to .*file/inference: Not a directory"):
        check_writable(tmp_path / "file/inference")
    opts = ["OUTPUT_DIR", str(tmp_path / "file"), "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"]
    cfg = hub.load(str(ROOT / "configs/quickstart/cliptrase.yaml"), opts)
    model = build_model(cfg).eval()
    monkeypatch.setattr(model, "segment", lambda inputs: pytest.fail("inference has begun"))
    with pytest.raises(ValueError, match="nothing can be written to"):
        evaluate(cfg, model)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"nothing can be written to .*: No space left"):
        check_writable(tmp_path / "new")
    assert not os.listdir(tmp_path / "new")
