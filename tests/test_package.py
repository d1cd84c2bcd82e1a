"""Packaged models: what one file brings to another machine, to either engine, and how bad ones are refused."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from small_training import CONFIG, SMALL, as_opts, write_squares
from test_cat_seg_d2 import request
from test_train_net import run

from ovss import hub, scenes
from ovss.cli import main
from ovss.d2.api import build_model
from ovss.d2.package import CONFIG_KEY, FORMAT_KEY, MAX_CONFIG_LENGTH, read_config, save_model
from ovss.d2.training.trainer import Trainer
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.from_words(scenes.CLASSES[:3])
SETTINGS = SMALL | {
    "TEST.SLIDING_WINDOW": True,
    "TEST.WINDOW_CANVAS": [96, 96],
    "TEST.WINDOW_SIZE": 64,
    "TEST.WINDOW_OVERLAP": 0.5,
    "DATASETS.TRAIN": (),
    "DATASETS.TEST": ("scenes_val",),
    "OUTPUT_DIR": "/somewhere/private",
    "WANDB.ENABLED": True,
}


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A model, its config, and the file that both were packaged into."""
    torch.manual_seed(0)
    cfg = hub.load(CONFIG, as_opts(SETTINGS))
    model = build_model(cfg).eval()
    path = tmp_path_factory.mktemp("package") / "model_final.safetensors"
    save_model(path, model, cfg)
    return model, cfg, path


def differing(first, second, prefix=""):
    """Dotted names of the settings that two configs do not share."""
    names = set()
    for key in first.keys() | second.keys():
        mine, theirs = first.get(key), second.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            names |= differing(mine, theirs, f"{prefix}{key}.")
        elif mine != theirs:
            names.add(prefix + key)
    return names


def test_a_package_needs_nothing_else(live):
    model, cfg, path = live
    again = hub.load("", ["MODEL.WEIGHTS", str(path), "MODEL.DEVICE", "cpu"])
    assert differing(cfg, again) == {"OUTPUT_DIR", "MODEL.WEIGHTS", "DATALOADER.NUM_WORKERS", "WANDB.ENABLED"}
    rebuilt = build_model(again).eval()
    assert model.state_dict().keys() == rebuilt.state_dict().keys()
    assert all(torch.equal(value, rebuilt.state_dict()[key]) for key, value in model.state_dict().items())
    picture = request((70, 90), words=WORDS)
    assert torch.equal(model([picture])[0]["sem_seg"], rebuilt([picture])[0]["sem_seg"])


def test_options_win_over_the_config_inside(live):
    cfg = hub.load("", ["MODEL.WEIGHTS", str(live[2]), "TEST.SLIDING_WINDOW", "False"])
    assert not cfg.TEST.SLIDING_WINDOW
    assert str(live[2]) == hub.load(str(live[2])).MODEL.WEIGHTS


def test_it_is_weights_for_another_config(live):
    cfg = hub.load(CONFIG, as_opts(SETTINGS, {"MODEL.WEIGHTS": live[2], "INPUT.SIZE_FIT": "resize"}))
    weight = "model.aggregator.decoder.head.weight"
    assert torch.equal(build_model(cfg).state_dict()[weight], live[0].state_dict()[weight])


def test_the_config_inside_is_plain_portable_yaml(live):
    with safe_open(live[2], "pt") as file:
        text = file.metadata()[CONFIG_KEY]
        assert set(file.keys()) == set(live[0].state_dict())
    assert yaml.safe_load(text) == read_config(live[2])
    assert read_config(live[2])["MODEL"]["CAT_SEG"]["WINDOW"] == 4
    assert "private" not in text, "paths of the machine that trained stay there"
    assert "VERSION" not in text, "the engine's own keys are not in it, so that the other engine reads it"


def test_folders_stay_behind(live, tmp_path):
    """A model whose config names one's own data opens where these are not."""
    folder = write_squares(tmp_path / "data")
    words = {"MODEL.VOCABULARY": folder["DATASETS.FOLDER.CLASSES"], "DATASETS.TEST": ("folder", "scenes_val")}
    save_model(tmp_path / "own.safetensors", live[0], hub.load(CONFIG, as_opts(SETTINGS, folder, words)))
    again = hub.load(str(tmp_path / "own.safetensors"))
    assert again.DATASETS.TEST == ("scenes_val",)
    assert again.DATASETS.FOLDER.IMAGES == again.MODEL.VOCABULARY == ""


@pytest.mark.usefixtures("restored_loggers")
def test_what_was_trained_is_what_segments(tmp_path):
    folder = write_squares(tmp_path / "data")
    trainer = Trainer(hub.load(CONFIG, as_opts(SMALL, folder, {"OUTPUT_DIR": tmp_path / "out"})))
    trainer.train()
    predictor = hub.build_predictor(str(tmp_path / "out/model_final.safetensors"), device="cpu")
    picture = request((60, 80), words=WORDS)
    live, opened = (model.eval()([picture])[0]["sem_seg"] for model in (trainer.model, predictor.segmentor))
    assert torch.equal(live, opened)
    assert predictor.vocabulary is None, "its words were in a file of the machine that trained it"


def test_segment_takes_it(live, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    given = ["segment", "--model", str(live[2]), "--device", "cpu", "--input", str(tmp_path / "a.png")]
    assert main([*given, "--output", str(tmp_path / "out"), "--vocabulary", ", ".join(WORDS.classes)]) == 0
    record = json.loads((tmp_path / "out/a.json").read_text())
    predictor = hub.build_predictor(str(live[2]), vocabulary=None, device="cpu")
    assert record["areas"] == predictor(tmp_path / "a.png", WORDS).areas()
    assert len(predictor.vocabulary.classes) == 40, "else the words of its data set"


def test_evaluation_needs_no_config_file(live, tmp_path):
    here = {"MODEL.DEVICE": "cpu", "DATALOADER.NUM_WORKERS": 0, "OUTPUT_DIR": tmp_path / "out"}
    folder = {**write_squares(tmp_path / "data"), "DATASETS.TEST": ("folder",)}
    done = run("--eval-only", *as_opts({"MODEL.WEIGHTS": live[2]}, here, folder))
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "out/inference/folder.json").read_text())["dataset"] == "folder"


def test_other_weights_need_a_config_file():
    with pytest.raises(ValueError, match=r"no --config-file: .*, or give MODEL.WEIGHTS a model with its config inside"):
        hub.load("", ["MODEL.WEIGHTS", "model_final.pth"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            ["--model", "model_final.pth"],
            "model_final.pth holds weights alone: give a model's name or a config",
        ),
        (["--model", "m.safetensors", "--config-file", "c.yaml"], "argument --config-file: not allowed with"),
    ],
)
def test_exactly_one_model(model, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["segment", *model, "--input", "a.png", "--output", "out"])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def write(path, metadata, config=None):
    config = {} if config is None else {FORMAT_KEY: "1", CONFIG_KEY: config}
    save_file({"x": torch.zeros(2)}, path, metadata | config)


DAMAGED = {
    "absent": (lambda path, live: None, "packaged model .*: no such file"),
    "truncated": (lambda path, live: path.write_bytes(live.read_bytes()[:-1]), "damaged, truncated, or no"),
    "text": (lambda path, live: path.write_text("hello"), "damaged, truncated, or no"),
    "length": (lambda path, live: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"), "damaged, truncated, or no"),
    "no config": (lambda path, live: write(path, {}), "holds no config: give --config-file beside MODEL.WEIGHTS"),
    "newer": (lambda path, live: write(path, {FORMAT_KEY: "2", CONFIG_KEY: "A: 1"}), "format 2, .* reads format 1"),
}
BAD_CONFIGS = {
    "code": ("A: !!python/object/apply:os.system ['touch owned']", "not plain YAML"),
    "list": ("[1, 2]", "expected keys and values"),
    "references": ("A: &a {B: 1}\nC: *a", "refers to its own parts"),
    "deep": ("[" * 100_000, "nested too deep"),
    "large": ("A: " + "1" * MAX_CONFIG_LENGTH, "more than the 262144"),
    "no setting": ("MODEL: {CAT_SEG: {WINDOW: 2020-01-01}}", "not a valid type.* does not fit"),
    "number as key": ("5: 6", "does not fit"),
    "other keys": ("MODEL: {CAT_SEGG: {X: 1}}", "unknown key MODEL.CAT_SEGG.* does not fit"),
    "other types": ("MODEL: {CAT_SEG: {WINDOW: wide}}", "Type mismatch.* does not fit"),
}
BAD = DAMAGED | {
    case: (lambda path, live, config=config: write(path, {}, config), message)
    for case, (config, message) in BAD_CONFIGS.items()
}


@pytest.mark.parametrize("case", BAD)
def test_bad_packages(case, live, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, message = BAD[case]
    path = tmp_path / "bad.safetensors"
    make(path, live[2])
    with pytest.raises(ValueError, match=f"(?s){message}") as error:
        hub.load("", ["MODEL.WEIGHTS", str(path)])
    assert str(path) in str(error.value)
    assert not (tmp_path / "owned").exists()


def test_a_strangers_file_names_no_place_on_this_machine(tmp_path):
    config = {
        "OUTPUT_DIR": "/etc",
        "MODEL": {"WEIGHTS": "a", "CLIP": {"WEIGHTS": "b", "NAME": "tiny"}, "DEVICE": "cuda:9"},
    }
    write(tmp_path / "model.safetensors", {}, yaml.safe_dump(config))
    assert read_config(tmp_path / "model.safetensors") == {"MODEL": {"CLIP": {"NAME": "tiny"}}}


def test_writing_is_whole_or_not_at_all(live, tmp_path, monkeypatch):
    model, cfg, _ = live
    path = tmp_path / "model.safetensors"
    save_model(path, model, cfg)
    before = path.read_bytes()

    def fail(tensors, name, metadata):
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("ovss.d2.package.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(path, model, cfg)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]
    with pytest.raises(ValueError, match=r"model\.pth: the name must end in \.safetensors"):
        save_model(tmp_path / "model.pth", model, cfg)
