"""`ovss reproduce` of a published entry, whole, beside the authors' script on the same files.

Real photos, made-up labels and weights (`golden_weights.py`): random answers score low, yet every rule of preparation,
crop, class token weighting, vote and metric acts on them.
"""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ovss.cli import main

# What clip_self_correlation.py prints for these files and weights, as pAcc, mAcc, fwIoU, mIoU.
AUTHORS = {224: (7.13, 5.84, 1.16, 1.03), 336: (6.68, 5.27, 0.94, 0.72)}


def mosaic(shape, seed):
    """12 x 12 fields of VOC's values, background among them, under void lines."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    fields = np.random.default_rng(seed).integers(0, 21, (12, 12))
    labels = fields[y * 12 // height, x * 12 // width]
    labels[(y + x) % 97 < 9] = 255
    return labels.astype(np.uint8)


@pytest.fixture
def root(shared, tmp_path):
    """VOC 2012 as downloaded, of two real photos; a third has no class inside the crop, so that it is passed over."""
    photos = sorted((shared / "samples/raw/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))
    assert len(photos) == 2
    folder = tmp_path / "VOCdevkit/VOC2012"
    for name in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    stems = [photo.stem for photo in photos]
    for seed, photo in enumerate(photos):
        shutil.copy(photo, folder / "JPEGImages")
        width, height = Image.open(photo).size
        Image.fromarray(mosaic((height, width), seed)).save(folder / f"SegmentationClassAug/{photo.stem}.png")
    edge = np.zeros((height, width), np.uint8)
    edge[:, :40] = 5
    Image.fromarray(edge).save(folder / "SegmentationClassAug/edge.png")
    shutil.copy(photos[-1], folder / "JPEGImages/edge.jpg")
    (folder / "ImageSets/Segmentation/val.txt").write_text("\n".join([*stems, "edge"]))
    return tmp_path


@pytest.mark.slow
def test_voc_20_scores_as_the_authors_script(root, rule_weights, monkeypatch, capsys, restored_loggers):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    assert main(["datasets", "prepare", "voc", "--split", "val", "--workers", "1"]) == 0
    ids = [f"cliptrase-{size}-voc20" for size in AUTHORS]
    given = ["--weights", str(rule_weights), "--output", str(root / "out")]
    assert main(["reproduce", *ids, *given, "--opts", "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"]) == 0
    for id, expected in zip(ids, AUTHORS.values(), strict=True):
        found = json.loads((root / f"out/{id}/comparison.json").read_text())
        measured = [found["measured"][name] for name in ("pAcc", "mAcc_all", "fwIoU", "mIoU_gt")]
        assert measured == pytest.approx(expected, abs=0.02)
        assert (found["pictures"], found["official_pictures"]) == (3, 1449)
    assert "VOC20, 3 pictures of 1,449: not the whole benchmark" in capsys.readouterr().out
