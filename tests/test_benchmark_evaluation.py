"""Two pictures of a benchmark from its folders to its scores, with numbers to check by hand; and the real samples."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ovss import hub
from ovss.d2.api import DatasetCatalog, MetadataCatalog
from ovss.d2.evaluator import evaluate
from ovss.d2.mapper import read_labels
from ovss.d2.training.mapper import TrainMapper
from ovss.datasets.table import BENCHMARKS, BY_NAME

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT.parent / "shared/samples"
CONFIG = str(ROOT / "configs/cliptrase/vitb16_d2.yaml")
VOC = ([[0, 0, 20, 255], [14, 14, 20, 255]], [[0, 20, 20, 3], [14, 14, 14, 3]])
THINGS = ([[0, 79, 80, 170], [255, 95, 79, 0]], [[0, 79, 80, 80], [80, 0, 80, 0]])
# Set -> labels and answer of the first picture; right and counted pixels, and IoU of its classes, of both pictures. The
# second is class 0 everywhere, and so is the answer.
CASES = {
    "voc_20b_val": (*VOC, 12 / 14, (9 / 10, 2 / 3, 1 / 3)),
    "voc_21_val": (*VOC, 12 / 14, (9 / 10, 2 / 3, 1 / 3)),
    "pascal_context_60_val": (
        *([[0, 0, 255, 255], [58, 58, 255, 0]], [[0, 59, 59, 58], [58, 58, 59, 0]]),
        *(14 / 16, (10 / 11, 2 / 3, 1 / 2)),
    ),
    "coco_object_val": (*THINGS, 14 / 16, (10 / 11, 1 / 2, 3 / 5)),
    "coco_object_cliptrase_val": (*THINGS, 13 / 14, (1, 1 / 2, 2 / 3)),
    "pascal_context_459_val": (
        *([[0, 458, 459, 65535], [430, 430, 0, 0]], [[0, 458, 0, 0], [430, 0, 0, 0]]),
        *(13 / 14, (11 / 12, 1, 1 / 2)),
    ),
}


class Answers(torch.nn.Module):
    """Answers with the given labels of each file, in the order of the classes."""

    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def forward(self, inputs):
        return [{"sem_seg": self.scores(item)} for item in inputs]

    def scores(self, item):
        labels = torch.tensor(self.labels[Path(item["file_name"]).stem])
        assert labels.shape == (item["height"], item["width"])
        return torch.nn.functional.one_hot(labels, len(item["vocabulary"].classes)).permute(2, 0, 1).float()


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    return tmp_path / "data"


def write(root, name, labels):
    """Write label images, and a grey picture for each, into the first layout."""
    row = BY_NAME[name]
    images, masks = (root / folder for folder in row.layouts[0])
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for stem, values in labels.items():
        array = np.array(values, np.uint16 if row.label_suffix == ".tif" else np.uint8)
        Image.fromarray(array).save(masks / f"{stem}{row.label_suffix}")
        Image.fromarray(np.full((*array.shape, 3), 90, np.uint8)).save(images / f"{stem}.jpg")


def run(name, answers, tmp_path, *opts):
    common = ["DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path / "out"), "DATALOADER.NUM_WORKERS", "0"]
    cfg = hub.load(CONFIG, [*common, "MODEL.DEVICE", "cpu", *opts])
    (result,) = evaluate(cfg, Answers(answers).eval()).values()
    return result


@pytest.mark.parametrize("name", CASES)
def test_scores_by_hand(name, root, tmp_path):
    labels, answer, accuracy, ious = CASES[name]
    same = np.zeros((2, 4), int).tolist()
    write(root, name, {"a": labels, "b": same})
    found = run(name, {"a": answer, "b": same}, tmp_path, "INPUT.MIN_SIZE_TEST", "8")
    assert found["pAcc"] == pytest.approx(100 * accuracy)
    assert found["mIoU_gt"] == pytest.approx(100 * sum(ious) / 3)


def test_label_map_of_a_centre_crop(root, tmp_path):
    write(root, "coco_object_val", {"a": THINGS[0]})
    crop = ["INPUT.CENTER_CROP_TEST", "True", "INPUT.MIN_SIZE_TEST", "2"]
    # The square in the middle has the labels 79, 80, 95 and 79; one of four is answered wrong.
    found = run("coco_object_val", {"a": [[79, 80], [80, 0]]}, tmp_path, *crop)
    assert found["pAcc"] == 75
    assert found["mIoU_gt"] == pytest.approx(100 * (1 / 2 + 1) / 2)


def test_label_map_in_training(root):
    write(root, "pascal_context_459_train", {"a": [[0, 458, 459, 65535]]})
    opts = [
        "DATASETS.TRAIN",
        "('pascal_context_459_train',)",
        "INPUT.MIN_SIZE_TRAIN",
        "(1,)",
        "INPUT.RANDOM_FLIP",
        "none",
    ]
    cfg = hub.load(CONFIG, [*opts, "LOSS.IGNORE_LABEL", "999"])
    (record,) = DatasetCatalog.get("pascal_context_459_train")
    assert TrainMapper.from_config(cfg)(record)["sem_seg"].tolist() == [[0, 458, 999, 999]]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no ../shared/samples")
def test_real_samples(root):
    for part in ("raw", "expected"):
        shutil.copytree(SAMPLES / part, root, dirs_exist_ok=True)
    full = root / "ADE20K_2021_17_01"
    (full / "images_detectron2/validation").mkdir(parents=True)
    for photo in (full / "images/ADE/validation").rglob("*.jpg"):
        shutil.copy(photo, full / "images_detectron2/validation")
    counts = {}
    for row in BENCHMARKS:
        if row.folders(root):
            records = DatasetCatalog.get(row.name)
            counts[row.name] = len(records)
            classes = len(MetadataCatalog.get(row.name).stuff_classes)
            for record in records:
                values = set(np.unique(read_labels(record["sem_seg_file_name"], row.label_map)).tolist())
                assert values - {row.ignore_label}, "something is labelled"
                assert values <= {*range(classes), row.ignore_label}, record
    assert counts == {
        "coco_stuff_train": 2, "coco_stuff_val": 4, "coco_object_val": 4, "coco_object_cliptrase_val": 4,
        "ade20k_150_val": 2, "ade20k_847_val": 2, "pascal_context_59_val": 1, "pascal_context_60_val": 1,
        "pascal_context_459_val": 1, "voc_20_val": 2, "voc_20b_val": 2, "voc_21_val": 2,
    }  # fmt: skip
