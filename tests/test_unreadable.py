"""Broken training pictures: replaced, reported once, written down; too many end the run, in all its processes."""

import logging

import pytest
from small_training import CONFIG, SMALL, as_opts, write_squares
from test_training_runs import start

from ovss import hub
from ovss.d2.training.trainer import Trainer
from ovss.d2.training.unreadable import UnreadablePictures

pytestmark = pytest.mark.usefixtures("restored_loggers")


def crops(*found):
    return [{"unreadable": [f"{name}.jpg: broken" for name in names]} if names else {} for names in found]


def test_each_is_reported_once_and_all_are_written(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        pictures = UnreadablePictures(str(tmp_path), 3)
        pictures.report(crops("ab", "", "a"))
        assert caplog.text.count("stands in for one that cannot be used: ") == 2
        pictures.report(crops("b", "c"))
        assert caplog.text.count("stands in for") == 3
    assert (tmp_path / "unreadable.txt").read_text() == "a.jpg: broken\nb.jpg: broken\nc.jpg: broken\n"
    with pytest.raises(
        ValueError, match=r"^4 training pictures cannot .*_UNREADABLE is 3: a.jpg: broken; .*d.jpg: broken$"
    ):
        pictures.report(crops("d"))


def test_a_later_run_counts_anew_and_adds_to_the_list(tmp_path):
    UnreadablePictures(str(tmp_path), 1).report(crops("a"))
    UnreadablePictures(str(tmp_path), 1).report(crops("b"))
    assert (tmp_path / "unreadable.txt").read_text() == "a.jpg: broken\nb.jpg: broken\n"


@pytest.fixture
def damaged(tmp_path):
    """Six pictures, of which one is cut short, as are the labels of another."""
    keys = write_squares(tmp_path / "data")
    whole = (tmp_path / "data/images/0.png").read_bytes()
    (tmp_path / "data/images/0.png").write_bytes(whole[: len(whole) // 2])
    cut = (tmp_path / "data/labels/2.png").read_bytes()
    (tmp_path / "data/labels/2.png").write_bytes(cut[:60])
    return keys


def test_training_goes_on_with_others(damaged, tmp_path, caplog):
    out = tmp_path / "out"
    cfg = hub.load(CONFIG, as_opts(SMALL, damaged, {"OUTPUT_DIR": str(out), "DATASETS.TEST": ()}))
    with caplog.at_level(logging.WARNING):
        Trainer(cfg).train()
    lines = (out / "unreadable.txt").read_text().splitlines()
    assert sorted(line.split("data/")[1].split(":")[0] for line in lines) == ["images/0.png", "labels/2.png"]
    assert caplog.text.count("stands in for one that cannot be used") == 2
    assert (out / "model_final.pth").is_file()


@pytest.mark.slow
def test_too_many_end_all_processes(damaged, tmp_path):
    settings = {"DATASETS.TEST": (), "DATALOADER.MAX_UNREADABLE": 1, "SOLVER.MAX_ITER": 99}
    process = start(tmp_path / "out", "--num-gpus", "2", settings={**damaged, **settings})
    printed = "".join(process.communicate(timeout=300))
    assert process.returncode == 2, printed[-3000:]
    assert "2 training pictures cannot be used, DATALOADER.MAX_UNREADABLE is 1: " in printed
    log = (tmp_path / "out/log.txt").read_text()
    assert "training has failed: 2 training pictures cannot be used" in log
    assert "Traceback" not in log + printed
    assert len((tmp_path / "out/unreadable.txt").read_text().splitlines()) == 2
    assert not (tmp_path / "out/model_final.pth").exists()
