"""`ovss reproduce`: an evaluation of its own against a count by hand, and every mistake before the work begins."""

import argparse
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from file_server import Served
from small_weights import small_weights

from ovss import hub, reproduce, scenes
from ovss.cli import main
from ovss.clip.model import ASSETS
from ovss.comparison import Comparison
from ovss.d2.mapper import read_labels
from ovss.download.remote_file import RemoteFile
from ovss.images import read_image
from ovss.model_names import CONFIGS
from ovss.published import Entry, find
from ovss.weights import table
from ovss.weights.table import Weights

FILE = RemoteFile("https://nowhere/tiny_clip.safetensors", "tiny_clip.safetensors")
TINY = Weights("tiny_clip", "tiny", FILE, "", "MIT", "this project's", "MODEL.CLIP.WEIGHTS", "tiny", "", ())
CPU = ("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0")


@pytest.fixture
def entry(tmp_path):
    """Four drawn scenes as a user's folder, with published scores made up for them."""
    folder = scenes.write_split(tmp_path, "val", 4)
    paths = {"IMAGES": "images", "LABELS": "labels", "CLASSES": "classes.json"}
    named = [word for key, name in paths.items() for word in (f"DATASETS.FOLDER.{key}", str(folder / name))]
    published = {"mIoU_gt": 50.0, "pAcc": 99.5}
    return Entry("drawn-four", "quickstart/cliptrase.yaml", "folder", tuple(named), published, TINY, "nowhere")


def arguments(tmp_path, opts=CPU, weights=str(ASSETS / "tiny_clip.safetensors"), num_gpus=1):
    return argparse.Namespace(weights=weights, opts=list(opts), num_gpus=num_gpus, output=str(tmp_path / "out"))


def count_by_hand(entry, tmp_path):
    """pAcc and mIoU_gt in percent of the predictor's answers, in numpy."""
    predictor = hub.build_predictor(str(CONFIGS / entry.config), [*entry.settings, "DATASETS.TEST", "('folder',)"])
    names = [path.name for path in (tmp_path / "val_4/images").iterdir()]
    found = np.concatenate([predictor(read_image(tmp_path / "val_4/images" / name)).labels.ravel() for name in names])
    true = np.concatenate([read_labels(str(tmp_path / "val_4/labels" / name)).ravel() for name in names])
    found, true = found[true != 255], true[true != 255]
    ious = [(found[true == k] == k).sum() / ((true == k) | (found == k)).sum() for k in np.unique(true)]
    return 100 * (found == true).mean(), 100 * np.mean(ious)


def test_measured_is_what_a_count_by_hand_gives(entry, tmp_path, capsys, restored_loggers):
    assert reproduce.run([entry], arguments(tmp_path)) == 0
    stored = json.loads((tmp_path / "out/drawn-four/comparison.json").read_text())
    pixels, iou = count_by_hand(entry, tmp_path)
    assert stored["measured"]["pAcc"] == pytest.approx(pixels)
    assert stored["measured"]["mIoU_gt"] == pytest.approx(iou)
    assert stored["difference"] == pytest.approx({"mIoU_gt": iou - 50, "pAcc": pixels - 99.5})
    assert (stored["pictures"], stored["protocol"]) == (4, "quickstart")
    printed = capsys.readouterr().out
    assert (tmp_path / "out/drawn-four/comparison.md").read_text() in printed.replace("\n\nwritten", "\n\n\nwritten")
    assert f"| mIoU_gt | 50.0 | {iou:.2f} | {iou - 50:+.2f} |" in printed
    assert "python train_net.py --eval-only --config-file configs/quickstart/cliptrase.yaml --num-gpus 1" in printed


@pytest.mark.parametrize("first", [True, False])
def test_two_entries_have_logs_of_their_own_and_one_may_fail(entry, tmp_path, capsys, restored_loggers, first):
    strict = Entry("not-this", entry.config, "folder", (*entry.settings, "INPUT.SIZE_FIT", "none"), {}, TINY, "nowhere")
    assert reproduce.run([strict, entry] if first else [entry, strict], arguments(tmp_path)) == 1
    captured = capsys.readouterr()
    assert "not-this failed: unknown INPUT.SIZE_FIT 'none'" in captured.err
    assert "1 of 2 evaluations failed: not-this" in captured.err
    assert "not-this" not in (tmp_path / "out/drawn-four/log.txt").read_text()
    assert not (tmp_path / "out/not-this/comparison.md").exists()


def test_published_weights_are_downloaded_where_none_are_given(entry, tmp_path, monkeypatch, restored_loggers):
    with small_weights(monkeypatch, tmp_path) as server:
        server.files["tiny"] = Served((ASSETS / FILE.name).read_bytes())
        published = replace(TINY, file=replace(FILE, url=server.url("tiny")))
        monkeypatch.setitem(table.entries(), published.name, published)
        assert reproduce.run([replace(entry, weights=published)], arguments(tmp_path, weights=None)) == 0
        assert [path for path, _ in server.requests] == ["tiny"]
    told = json.loads((tmp_path / "out/drawn-four/comparison.json").read_text())
    assert told["weights"] == str(tmp_path / "cache/weights" / FILE.name)


def test_a_part_of_the_data_is_called_so():
    scores = {"mIoU_gt": 80.0, "mIoU_union": math.nan, "pAcc": 89.51, "mAcc_all": 91.77, "fwIoU": 82.15}
    part = Comparison(find("cliptrase-336-voc20"), scores, 2, {"protocol": "x"})
    lines = part.table().splitlines()
    assert lines[0] == "| cliptrase-336-voc20 | published | measured | difference |"
    assert lines[2:5] == [
        "| mIoU_gt | 81.2 | 80.00 | -1.20 |",
        "| mIoU_union | - | - | - |",
        "| pAcc | 89.51 | 89.51 | +0.00 |",
    ]
    assert "- data set: VOC20, 2 pictures of 1,449: not the whole benchmark, its scores are not comparable" in lines
    assert json.loads(json.dumps(part.as_dict(), allow_nan=False))["measured"]["mIoU_union"] is None
    whole = Comparison(find("cliptrase-336-voc20"), scores, 1449, {})
    assert whole.data == "VOC20, 1,449 pictures"


MISTAKES = {
    "unknown id": (
        ["cliptrase-448-voc20"],
        "no published figure is called 'cliptrase-448-voc20'; did you mean 'cliptrase-",
    ),
    "nothing": ([], "name entries, or ask for --list"),
    "list of some": (["cliptrase-224-voc20", "--list"], "name entries, or ask for --list"),
    "absent weights": (
        ["cat-seg-vitb-voc20", "--weights", "absent.pth"],
        "--weights absent.pth: no such file or folder; cat_seg_vitb is from https://huggingface.co",
    ),
    "one file for two": (
        ["cat-seg-vitb-voc20", "cat-seg-vitl-voc20", "--weights", "setup.cfg"],
        "these entries have different weights, run them apart: cat-seg-vitb-voc20 cat_seg_vitb, cat-seg-vitl-voc20",
    ),
    "unprepared data": (["cliptrase-224-voc20"], "prepare"),
    "other data": (["cliptrase-224-voc20", "--opts", "DATASETS.TEST", "('scenes_val',)"], "is about 'VOC20' alone"),
    "unknown key": (["cliptrase-224-voc20", "--opts", "TEST.EPSILOM", "1"], "did you mean TEST.EPSILON"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_end_before_the_work(case, tmp_path, monkeypatch, capsys):
    given, message = MISTAKES[case]
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "none"))
    assert main(["reproduce", "--output", str(tmp_path / "out"), *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ovss: error: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def test_torchrun_is_refused(tmp_path, monkeypatch, capsys):
    numbers = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "29500"}
    for name, value in {**numbers, "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    assert main(["reproduce", "--output", str(tmp_path / "out"), "cliptrase-224-voc20"]) == 2
    assert capsys.readouterr().err == (
        "ovss: error: ovss reproduce starts its processes itself: give --num-gpus N, without torchrun\n"
    )
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_end_it(entry, tmp_path, restored_loggers):
    wrong = tmp_path / "weights.pt"
    wrong.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"weights\.pt"):
        reproduce.run([entry], arguments(tmp_path, weights=str(wrong)))
    assert not (tmp_path / "out/drawn-four/comparison.md").exists()
