"""`ovss export --format released`: what is written, read back as a released checkpoint, and what is refused."""

import os
from itertools import pairwise

import pytest
import torch
from small_training import CONFIG, ROOT, SMALL, as_opts

from ovss import hub
from ovss.cli import main
from ovss.d2.api import build_model
from ovss.d2.package import save_model

NO_DATA = {"DATASETS.TRAIN": (), "DATASETS.TEST": ()}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """The path of a small packaged CAT-Seg, and its tensors."""
    torch.manual_seed(0)
    cfg = hub.load(CONFIG, as_opts(SMALL, NO_DATA))
    model = build_model(cfg)
    path = tmp_path_factory.mktemp("package") / "model_final.safetensors"
    save_model(path, model, cfg)
    return path, model.state_dict()


def test_round_trip_is_exact(packaged, tmp_path, capsys):
    path, expected = packaged
    output = tmp_path / "new/model.pth"
    assert main(["export", "--model", str(path), "--output", str(output)]) == 0
    released = torch.load(output, weights_only=True)
    assert released.keys() == {"model"}
    assert capsys.readouterr().out == f"{len(released['model'])} tensors written to {output}\n"
    head = released["model"]["sem_seg_head.predictor.transformer.head.weight"]
    assert torch.equal(head, expected["model.aggregator.decoder.head.weight"])
    again = build_model(hub.load(CONFIG, as_opts(SMALL, NO_DATA, {"MODEL.WEIGHTS": output}))).state_dict()
    assert again.keys() == expected.keys()
    assert all(torch.equal(again[key], expected[key]) for key in expected)


@pytest.mark.parametrize("option", [True, False])
def test_from_a_config_and_weights(packaged, tmp_path, option):
    """The small config with its own weights, and then with what was written of them: the same file."""
    files = [packaged[0], tmp_path / "first.pth", tmp_path / "second.pth"]
    for weights, output in pairwise(files):
        given = as_opts(SMALL, {} if option else {"MODEL.WEIGHTS": weights})
        given += ["--weights", str(weights)] if option else []
        assert main(["export", "--config-file", CONFIG, "--output", str(output), "--opts", *given]) == 0
    first, second = (torch.load(path, weights_only=True)["model"] for path in files[1:])
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_embedded_model_by_its_name(tmp_path):
    output = tmp_path / "model.pth"
    assert main(["export", "--model", "quickstart/cat_seg", "--output", str(output)]) == 0
    assert len(torch.load(output, weights_only=True)["model"]) > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config-file", str(ROOT / "configs/quickstart/cliptrase.yaml")], "CLIPtrase has no released checkpoints"),
        (["--config-file", CONFIG, "--opts", *as_opts(SMALL)], "MODEL.WEIGHTS is empty: give the weights"),
        (["--model", "absent.safetensors"], "packaged model absent.safetensors: no such file"),
        (
            ["--model", "absent.safetensors", "--format", "released", "--output", "model.pt"],
            "the name must end in .pth",
        ),
        (["--model", "a.safetensors", "--vocabulary", "cat"], "--vocabulary: a released checkpoint is the weights"),
        (["--model", "a.safetensors", "--size", "64", "64"], "--size: a released checkpoint is the weights"),
        (["--model", "a.safetensors", "--device", "cpu"], "--device: a released checkpoint is the weights"),
        (["--model", "a.safetensors", "--dtype", "float16"], "--dtype: a released checkpoint is the weights"),
        (["--model", "a.safetensors", "--no-check"], "--no-check: a released checkpoint is the weights"),
    ],
)
def test_mistakes_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--output", "model.pth", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ovss: error: ")
    assert message in line
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_file(packaged, tmp_path, monkeypatch, capsys):
    output = tmp_path / "model.pth"
    output.write_bytes(b"old")

    def fail(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    assert main(["export", "--model", str(packaged[0]), "--output", str(output)]) == 2
    assert capsys.readouterr().err.endswith("disk full\n")
    assert (output.read_bytes(), os.listdir(tmp_path)) == (b"old", ["model.pth"])
