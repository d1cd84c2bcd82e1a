"""`ovss export`: what the command prints, writes and refuses. What files answer is in tests/test_export_files.py."""

import argparse
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import ovss
from ovss import scenes
from ovss.cli import main
from ovss.export import check, onnx, run
from ovss.export.check import LEAST_EQUAL, compare, example
from ovss.export.fixed import fitting_size, fix, plain_segmentor
from ovss.export.metadata import read_metadata
from ovss.export.onnx import run_onnx
from ovss.export.program import run_program
from ovss.inference import DenseModel

ROOT = Path(__file__).parent.parent
QUICK = ["--model", "quickstart/maskclip", "--device", "cpu"]
SCENES = [(scenes.HELD_OUT_STREAM, 3, index) for index in range(3)]


def export(*words):
    return main(["export", *QUICK, *map(str, words)])


@pytest.fixture
def stand_in(monkeypatch):
    """No file is made of the model but one that holds its metadata; the list holds what it would answer."""
    answers = []
    monkeypatch.setattr(run, "write", lambda fixed, kind, path, metadata: path.write_text(metadata))
    for name in ("run_onnx", "run_program"):
        monkeypatch.setattr(run, name, lambda path, images: answers[0])
    return answers


@pytest.mark.parametrize(("model", "suffix"), [("quickstart/clip", ".pt2"), ("quickstart/maskclip", ".onnx")])
def test_one_command_writes_and_checks_a_file(model, suffix, tmp_path, monkeypatch, capsys):
    """Here with few bytes of weights inside an ONNX model: the others lie beside it, and both can be moved."""
    monkeypatch.setattr(onnx, "MOST_INSIDE", 10**6)
    output, words = tmp_path / f"new/scenes{suffix}", "red star, sand, grass"
    given = ["--output", str(output), "--vocabulary", words, "--size", "64", "96"]
    assert main(["export", "--model", model, "--device", "cpu", *given]) == 0
    files = sorted(output.parent.iterdir())
    assert [path.name for path in files] == ["scenes.pt2"] if suffix == ".pt2" else ["scenes.onnx", "scenes.onnx.data"]
    assert all(path.stat().st_mode & 0o777 == 0o666 & ~current_umask() for path in files)
    checked, written = capsys.readouterr().out.splitlines()
    assert checked.startswith("checked on a drawn scene: 100.0000% of the labels are equal, scores differ by at most ")
    assert float(checked.split()[-1]) < 1e-4
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    assert written == f"{output}: {megabytes:.1f} MB, 3 classes, pictures of 64 x 96 px"
    moved = output.parent.rename(tmp_path / "moved") / output.name
    metadata = read_metadata(moved)
    assert metadata["classes"] == ["red star", "sand", "grass"]
    assert (metadata["model"], metadata["architecture"], metadata["size"]) == (model, "CLIPtrase", [64, 96])
    fixed = fix(ovss.load(model, device="cpu", vocabulary=words), (64, 96))
    images = torch.stack([torch.from_numpy(scenes.draw_scene(seed).image[:64, :96]) for seed in SCENES])
    images = images.permute(0, 3, 1, 2).float() / 255
    found = (run_program if suffix == ".pt2" else run_onnx)(moved, images)
    assert compare(fixed.expected(images), found).equal >= LEAST_EQUAL
    run_example(suffix, moved, monkeypatch)


def run_example(suffix, path, monkeypatch):
    """What docs/export.md says of such a file, run on this one."""
    onnx_example, torch_example = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.DOTALL)
    example, name = (torch_example, "rooms.pt2") if suffix == ".pt2" else (onnx_example, "living_room.onnx")
    monkeypatch.chdir(ROOT)
    found: dict = {}
    exec(example.replace(name, str(path)), found)
    assert found["scores"].shape == (1, 3, 64, 96)
    assert found["labels"].shape == (1, 64, 96)
    assert found["about"]["classes"] == ["red star", "sand", "grass"]


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_answers_otherwise_is_not_left(stand_in, tmp_path, capsys):
    output = tmp_path / "scenes.onnx"
    output.write_text("the old one")
    stand_in.append((torch.zeros(1, 40, 128, 128), torch.full((1, 128, 128), 39)))
    assert export("--output", output) == 2
    printed = capsys.readouterr()
    assert "scenes.onnx was not written: it does not answer as the model does, " in printed.err
    assert "99.9% must be. --no-check writes it" in printed.err
    assert (os.listdir(tmp_path), output.read_text()) == (["scenes.onnx"], "the old one")
    assert export("--output", output, "--no-check") == 0
    assert json.loads(output.read_text())["model"] == "quickstart/maskclip"


def test_a_full_disk_leaves_the_old_file(monkeypatch, tmp_path, capsys):
    def fail(fixed, kind, path, metadata):
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(run, "write", fail)
    (tmp_path / "scenes.pt2").write_text("the old one")
    assert export("--output", tmp_path / "scenes.pt2") == 2
    assert capsys.readouterr().err.endswith("disk full\n")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old one"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "a.pb"], "--output a.pb: the name must end in .onnx, .pt2, .pth: it chooses the format"),
        (["--output", "a.onnx", "--format", "torch"], "--output a.onnx: with --format torch the name must end in .pt2"),
        (["--output", "a.pt2", "--size", "100", "64"], "sides that are multiples of 8 px: --size 96 64"),
        (["--output", "a.pt2", "--size", "0", "64"], "sides that are multiples of 8 px: --size 8 64"),
        (["--output", "a.pt2", "--vocabulary", "sand,,"], "an empty word in the vocabulary"),
        (["--output", "a.pt2", "--dtype", "bfloat16"], "TEST.PRECISION bfloat16: a file computes in float32"),
        (
            ["--output", "a.pt2", "--opts", "TEST.AUG.ENABLED", "True"],
            "TEST.AUG.ENABLED True: a file answers by one",
        ),
    ],
)
def test_mistakes_leave_nothing(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert export(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ovss: error: ")
    assert message in line
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert export("--output", tmp_path / "a.onnx") == 2
    error = capsys.readouterr().err
    assert f"ONNX needs the package {package} " in error
    assert "pip install 'ovss[export]'" in error


def test_what_is_not_checked_needs_no_onnxruntime(stand_in, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export("--output", tmp_path / "a.onnx", "--no-check") == 0


def test_a_sliding_window_is_said_to_be_missing(stand_in, tmp_path, capsys):
    words = ["--model", "quickstart/cat_seg", "--device", "cpu", "--output", str(tmp_path / "a.pt2"), "--no-check"]
    assert main(["export", *words, "--opts", "TEST.SLIDING_WINDOW", "True", "MODEL.COMPILE", "True"]) == 0
    assert "the model is tested with a sliding window; the file has none" in capsys.readouterr().out
    metadata = (tmp_path / "a.pt2").read_text()
    assert '"sliding_window": false, "tested_with_sliding_window": true' in metadata


def test_the_size_is_the_models_own(tmp_path):
    """The square of a model that squashes, else that of the shorter side at test; no model that is compiled."""
    words = argparse.Namespace(model="quickstart/cat_seg", weights=None, device="cpu", dtype=None, vocabulary=None)
    words.opts = ["INPUT.MIN_SIZE_TEST", "64", "MODEL.COMPILE", "True"]
    predictor = run.built(words)
    model = plain_segmentor(predictor).model
    assert not model.compiled
    assert fitting_size(predictor, model, None) == (128, 128)
    free = ovss.load("quickstart/clip", device="cpu", opts=["INPUT.MIN_SIZE_TEST", "64"])
    assert fitting_size(free, free.segmentor.model, None) == (64, 64)


def test_models_that_have_no_such_form(monkeypatch):
    predictor = ovss.load("quickstart/clip", device="cpu")
    monkeypatch.setattr(type(predictor.segmentor.model), "static_form", DenseModel.static_form)
    with pytest.raises(ValueError, match="CLIPtrase has no form that can be exported"):
        fix(predictor)
    predictor.segmentor = lambda batch: []
    with pytest.raises(ValueError, match="function is no model of this project"):
        fix(predictor)


def test_agreement_by_hand():
    expected = torch.tensor([[[[0.5, 0.25]], [[0.0, 0.75]]]])
    found = compare(expected, (expected + 0.125, torch.tensor([[[0, 0]]])))
    assert (found.equal, found.difference) == (0.5, 0.125)
    assert str(found) == "50.0000% of the labels are equal, scores differ by at most 1.2e-01"
    assert LEAST_EQUAL == 0.999


def test_the_example_is_always_the_same_and_has_no_equal_places():
    first, second = example((40, 56)), example((40, 56))
    assert torch.equal(first, second)
    assert first.shape == (1, 3, 40, 56)
    assert 0 <= first.min() < first.max() <= 1
    assert first.flatten(2).unique(dim=2).shape[2] > 0.99 * 40 * 56
    assert check.SCENE == (0, 0, 0)


def test_metadata_of_other_files(tmp_path):
    with pytest.raises(ValueError, match=r"exported model .*absent.onnx: no such file"):
        read_metadata(tmp_path / "absent.onnx")
    import onnx as package

    graph = package.helper.make_graph([], "empty", [], [])
    package.save(package.helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="was not written by ovss export"):
        read_metadata(tmp_path / "other.onnx")
    for name in ("broken.onnx", "broken.pt2"):
        (tmp_path / name).write_bytes(b"\xff no model")
        with pytest.raises(ValueError, match=rf"exported model .*{name} cannot be read: "):
            read_metadata(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/extra/ovss.json", bytes(2**24 + 1))
    with pytest.raises(ValueError, match="16777217 bytes of metadata, more than the 16777216 that there can be"):
        read_metadata(tmp_path / "bomb.pt2")
    torch.save({}, tmp_path / "other.pt2")
    with pytest.raises(ValueError, match="was not written by ovss export"):
        read_metadata(tmp_path / "other.pt2")
