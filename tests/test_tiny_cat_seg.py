"""The embedded CAT-Seg: it is what its config trains, small, and knows pairs that it was not trained on."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ovss import scenes
from ovss.assets.halve import halve
from ovss.clip.model import ASSETS
from ovss.clip.weights import load_clip
from ovss.d2.package import read_config
from ovss.hub import build_predictor, load
from ovss.metrics import ConfusionMatrix, scores

FILE = ASSETS / "tiny_cat_seg.safetensors"
CONFIG = "configs/quickstart/cat_seg.yaml"


def test_file_is_small():
    assert FILE.stat().st_size <= 4 * 1024**2


def test_its_config_is_the_one_that_trains_it():
    inside, written = read_config(FILE), load(CONFIG)
    assert inside["MODEL"]["META_ARCHITECTURE"] == "CATSeg"
    assert inside["DATASETS"]["TRAIN"] == ["scenes_train_seen"]
    for section in ("CAT_SEG", "TEXT"):
        own = {key: value for key, value in written.MODEL[section].items() if not key.endswith("WEIGHTS")}
        assert inside["MODEL"][section] == own
    for key in ("MAX_ITER", "IMS_PER_BATCH", "BASE_LR"):
        assert load(str(FILE)).SOLVER[key] == written.SOLVER[key]


def test_its_clip_is_the_tiny_one():
    tensors = load_file(FILE)
    for name, value in load_clip("tiny").state_dict().items():
        torch.testing.assert_close(tensors[f"model.clip.{name}"].float(), value, rtol=0, atol=0)


def test_finds_seen_and_unseen_pairs():
    """On 24 held-out scenes, among all 40 words; with the text of unseen pairs it was never trained."""
    predictor = build_predictor(str(FILE), device="cpu")
    assert predictor.vocabulary.classes == scenes.CLASSES
    confusion = ConfusionMatrix(len(scenes.CLASSES))
    for index in range(24):
        scene = scenes.draw_scene((scenes.HELD_OUT_STREAM, 2, index))
        found = torch.as_tensor(predictor(scene.image).labels).long()
        confusion.update(found, torch.from_numpy(scene.labels).long(), 255)
    iou = dict(zip(scenes.CLASSES, scores(confusion.counts).IoU, strict=True))
    for pairs in (scenes.SEEN, scenes.UNSEEN):
        found = torch.tensor([iou[pair] for pair in pairs]).nanmean()  # not every pair is in so few scenes
        assert found > 60


@pytest.mark.slow
def test_bfloat16_labels():
    """At least 99.5 % of the labels of a model that has learned are those of float32."""
    predictor = build_predictor(str(FILE), device="cpu")
    halved = build_predictor(str(FILE), ["TEST.PRECISION", "bfloat16"], device="cpu")
    equal = []
    for index in range(4):
        image = scenes.draw_scene((scenes.HELD_OUT_STREAM, 2, index)).image
        expected, found = predictor(image), halved(image)
        assert np.abs(found.scores - expected.scores).max() > 1e-6, "it was computed in float32"
        equal.append((found.labels == expected.labels).mean())
    assert np.mean(equal) >= 0.995


def test_halved_file_keeps_names_whole_numbers_and_metadata(tmp_path):
    tensors = {"a": torch.tensor([1.0, 1 / 3]), "count": torch.tensor([70000])}
    save_file(tensors, tmp_path / "whole.safetensors", {"note": "kept"})
    halve(tmp_path / "whole.safetensors", tmp_path / "half.safetensors")
    halved = load_file(tmp_path / "half.safetensors")
    assert halved["a"].dtype == torch.float16
    assert halved["a"].tolist() == pytest.approx([1, 1 / 3], abs=2**-12)
    assert halved["count"].tolist() == [70000]
    with safe_open(tmp_path / "half.safetensors", "pt") as file:
        assert file.metadata() == {"note": "kept"}
