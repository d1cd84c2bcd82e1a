"""The report of real evaluations: beside the scores, equal to them, the same whatever the number of processes."""

import json
import re

import numpy as np
import pytest
import torch
from small_training import as_opts, write_squares
from test_report import Page
from test_train_net import run

from ovss import hub
from ovss.d2.api import build_model
from ovss.d2.evaluator import evaluate
from ovss.d2.report import run_facts

CONFIG = "configs/quickstart/cliptrase.yaml"
HERE = {"DATASETS.TEST": ("folder",), "DATALOADER.NUM_WORKERS": 0, "MODEL.DEVICE": "cpu"}


def evaluated(folder, data, *options: str):
    """Run train_net.py; return the report without its date, and the scores."""
    settings = as_opts(HERE, data, {"OUTPUT_DIR": folder})
    done = run("--eval-only", "--config-file", CONFIG, *options, *settings)
    assert done.returncode == 0, done.stderr[-2000:]
    path = folder / "inference/folder.html"
    assert f"report: {path}" in done.stdout + done.stderr
    page = path.read_text(encoding="utf-8")
    undated = re.sub(r"evaluated \d{4}-\d\d-\d\d \d\d:\d\d UTC", "", page)
    return undated, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("data"), count=11)


@pytest.fixture(scope="module")
def single(tmp_path_factory, data):
    return evaluated(tmp_path_factory.mktemp("single"), data)


def test_the_page_shows_the_scores(single):
    text, stored = single
    page = Page(text)
    scores, _, classes = page.tables
    assert {row[0]: row[1] for row in scores[1:]} == {name: f"{value:.2f}" for name, value in stored["scores"].items()}
    counts = np.array(stored["confusion"])
    for index, row in enumerate(classes[1:]):
        shown = [stored["classes"][index], *(stored[key][index] for key in ("IoU", "accuracy"))]
        assert row[1:4] == [shown[0], *("-" if value is None else f"{value:.2f}" for value in shown[1:])]
        assert row[4:6] == [f"{counts[index].sum():,}", f"{counts[:, index].sum():,}"]
    assert "Pictures: 11." in page.text
    assert page.text.count("Best ") == page.text.count("Worst ") == 4


def test_it_says_what_was_run_and_nobodys_folders(single, tmp_path_factory):
    text, _ = single
    for words in ("quickstart/cliptrase", "CLIPtrase, CLIP tiny", "short side 128 px", torch.__version__, "Python 3."):
        assert words in text
    assert str(tmp_path_factory.getbasetemp()) not in text


@pytest.mark.slow
def test_two_processes_give_the_same_page(single, data, tmp_path):
    assert evaluated(tmp_path, data, "--num-gpus", "2") == single


def test_it_can_be_left_out(data, tmp_path):
    cfg = hub.load(CONFIG, as_opts(HERE, data, {"OUTPUT_DIR": tmp_path, "TEST.REPORT": False}))
    evaluate(cfg, build_model(cfg).eval())
    assert (tmp_path / "inference/folder.json").is_file()
    assert not (tmp_path / "inference/folder.html").exists()


def test_facts_name_files_without_folders(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("MODEL: {CLIP: {NAME: tiny, WEIGHTS: /home/somebody/ViT.pt}}\nINPUT: {FORMAT: RGB}\n")
    cfg = hub.load(str(config), ["MODEL.META_ARCHITECTURE", "CLIPtrase", "MODEL.WEIGHTS", "/home/somebody/model.pth"])
    found = run_facts(cfg)
    assert found["config"] == "mine"
    assert (found["MODEL.WEIGHTS"], found["MODEL.CLIP.WEIGHTS"]) == ("model.pth", "ViT.pt")
    assert not any("somebody" in text for text in found.values())
