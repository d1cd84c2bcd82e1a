"""Weights & Biases without a network: what a run records, going on in the same run, mistakes before the first step."""

import contextlib
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from file_server import Served, serve
from small_training import CONFIG, SMALL, as_opts

from ovss import hub
from ovss.d2.api import EventStorage
from ovss.d2.watch.weights_and_biases import ID_FILE, WeightsAndBiases
from ovss.d2.watch.writers import build_writers, check_writers

RED = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 8, 4)


@pytest.fixture
def wandb():
    module = pytest.importorskip("wandb", reason="Weights & Biases is not installed: pip install 'ovss[wandb]'")
    yield module
    module.teardown()  # it reads its environment once


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    out = tmp_path / "out"
    out.mkdir()
    data = {"DATASETS.TRAIN": (), "DATASETS.TEST": ()}
    settings = {"OUTPUT_DIR": str(out), "WANDB.ENABLED": True, "WANDB.PROJECT": "squares", "LOG_PERIOD": 1}
    return hub.load(CONFIG, as_opts(SMALL, data, settings))


def records(path):
    """What an offline run holds: protocol buffers in LevelDB's log format, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 2**15 - place % 2**15 < 7:  # the rest of a block that has no room for a header
            place += 2**15 - place % 2**15
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def write(config, start, stop, value):
    """A run that puts one value at its iterations, and a picture and a score at the last."""
    board = WeightsAndBiases(config, start)
    with EventStorage(start) as storage:
        for storage.iter in range(start, stop):
            storage.put_scalar("total_loss", value)
            if storage.iter == stop - 1:
                storage.put_image("sample", RED)
                storage.put_scalar("folder/mIoU_gt", 40.0, smoothing_hint=False)
            board.write()
        board.close()


def take(wandb, folder):
    """Of the one run in a folder: id, project, config, numbers by step, pictures, exit code; it is gone then."""
    wandb.teardown()  # what is on its way is written then
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = {kind: [] for kind in ("run", "history", "exit")}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind in found:
            found[kind].append(getattr(record, kind))
    (run,), (end,) = found["run"], found["exit"]
    config = {update.key: json.loads(update.value_json) for update in run.config.update}
    rows = {
        row.step.num: {"/".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        for row in found["history"]
    }
    pictures = len(list(path.parent.rglob("*.png")))
    shutil.rmtree(folder / "wandb")
    return run.run_id, run.project, config, rows, pictures, end.exit_code


def test_a_run_holds_config_losses_pictures_and_scores_and_is_gone_on_in(wandb, config):
    found = []
    for start, stop, value in ((0, 3, 1.5), (3, 5, 2.5), (0, 1, 9.0)):  # anew, gone on, anew
        write(config, start, stop, value)
        found.append(take(wandb, Path(config.OUTPUT_DIR)))
        assert (Path(config.OUTPUT_DIR) / ID_FILE).read_text() == found[-1][0]
    names, projects, configs, rows, pictures, codes = zip(*found, strict=True)
    assert names[0] == names[1] != names[2]
    assert set(projects) == {"squares"}
    assert (configs[0]["SOLVER"]["BASE_LR"], configs[0]["MODEL"]["CLIP"]["NAME"]) == (0.002, "tiny")
    losses = [{step: row["total_loss"] for step, row in run.items()} for run in rows]
    assert losses == [{0: 1.5, 1: 1.5, 2: 1.5}, {3: 2.5, 4: 2.5}, {0: 9}]
    assert rows[0][2]["folder/mIoU_gt"] == 40
    assert pictures == (1, 1, 1)
    assert codes == (0, 0, 0)


def test_a_run_that_fails_is_marked_so(wandb, config):
    board = WeightsAndBiases(config, 0)
    with contextlib.suppress(RuntimeError), contextlib.closing(board):
        raise RuntimeError("the power is gone")
    assert take(wandb, Path(config.OUTPUT_DIR))[-1] == 1


def test_who_is_not_logged_in_is_told_what_to_do(wandb, config, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with serve() as server:
        server.files[""] = Served(b"it answers")
        monkeypatch.setenv("WANDB_BASE_URL", server.url(""))
        with pytest.raises(ValueError, match=r"wandb refuses: .*wandb login.* set WANDB_MODE=offline"):
            WeightsAndBiases(config, 0)


def test_a_network_that_is_down_ends_no_run(wandb, config, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    write(config, 0, 1, 1.5)
    assert "no connection to Weights & Biases: recording for `wandb sync` instead" in caplog.text
    assert take(wandb, Path(config.OUTPUT_DIR))[3][0]["total_loss"] == 1.5


def test_nothing_of_it_is_made_unless_asked_for(config, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"wandb is not installed: pip install 'ovss\[wandb\]'"):
        check_writers(config)
    without = config.clone()
    without.defrost()
    without.WANDB.ENABLED = False
    check_writers(without)
    assert not any(isinstance(writer, WeightsAndBiases) for writer in build_writers(without, 0))
