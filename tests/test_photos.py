"""Real photos through the full-size ViT-B/16 path, as a user with a local weights file runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
WORDS = "cat, astronaut, rocket, cup of coffee, sky, wall"


def run(*arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", ["vitb16_224", *(pytest.param(name, marks=pytest.mark.full) for name in ("vitb16_336", "vitb16_d2"))]
)
def test_segment_photos(rule_weights, tmp_path, config):
    photos = sorted((ROOT / "demo/images").glob("*.jpg"))
    assert len(photos) >= 3
    arguments = ["--config-file", f"configs/cliptrase/{config}.yaml", "--weights", str(rule_weights), "--device", "cpu"]
    run("demo/demo.py", *arguments, "--input", "demo/images", "--vocabulary", WORDS, "--output", str(tmp_path))
    for photo in photos:
        labels = np.asarray(Image.open(tmp_path / f"{photo.stem}_labels.png"))
        record = json.loads((tmp_path / f"{photo.stem}.json").read_text())
        assert labels.shape[::-1] == Image.open(photo).size == (record["width"], record["height"])
        assert labels.max() < 6
        assert sum(record["areas"].values()) == pytest.approx(1)
        assert Image.open(tmp_path / f"{photo.stem}_overlay.jpg").width >= 512


@pytest.mark.slow
def test_segment_samples(shared, rule_weights, tmp_path):
    arguments = [
        "--config-file",
        "configs/cliptrase/vitb16_224.yaml",
        "--weights",
        str(rule_weights),
        "--device",
        "cpu",
    ]
    folder = shared / "samples/photos"
    run("-m", "ovss", "segment", *arguments, "--input", str(folder), "--vocabulary", WORDS, "--output", str(tmp_path))
    assert len(list(tmp_path.glob("*_overlay.jpg"))) == len(list(folder.iterdir()))


@pytest.mark.slow
def test_global_patch_of_a_photo(rule_weights, tmp_path):
    arguments = [
        "--config-file",
        "configs/cliptrase/vitb16_336.yaml",
        "--weights",
        str(rule_weights),
        "--device",
        "cpu",
    ]
    printed = run("demo/global_patch.py", *arguments, "--input", "demo/images/chelsea.jpg", "--output", str(tmp_path))
    assert printed.strip() == str(tmp_path / "chelsea_global_patch.jpg")
    assert Image.open(tmp_path / "chelsea_global_patch.jpg").width > 1000
