"""The command line as a user meets it: exit codes, one-line errors, file names, speed. The model is a stand-in."""

import io
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ovss
from ovss.cli import COMMANDS, main
from ovss.predictor import Predictor

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """Replace the model by one that labels by colour (red 0, green 1, blue 2); the list holds its arguments."""
    built: list[tuple] = []

    def load(name, weights, *, device, dtype, vocabulary, opts):
        if name != "good.yaml":
            raise ValueError(f"config {name}: no such file")
        built.append((name, weights, device, dtype, vocabulary, opts))
        return Predictor(
            lambda batch: [{"sem_seg": request["image"].float()} for request in batch], lambda image: image, vocabulary
        )

    models = types.ModuleType("ovss.models")
    models.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovss.models", models)
    return built


def save(path: Path, colour: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), colour).save(path)
    return path


def segment(*inputs: object, output: Path, config: str = "good.yaml", words: str = "red, green, blue", more=()) -> int:
    paths = [str(path) for path in inputs]
    arguments = ["--config-file", config, "--input", *paths, "--vocabulary", words, "--output", str(output)]
    return main(["segment", *arguments, *more])


def test_segment_writes_what_it_promises(tmp_path, calls, capsys):
    photos = [save(tmp_path / "in/a.png", "red"), save(tmp_path / "in/b.png", "blue")]
    assert segment(tmp_path / "in", output=tmp_path / "new/out") == 0
    names = [f"{stem}{end}" for stem in "ab" for end in (".json", "_labels.png", "_overlay.jpg")]
    assert sorted(os.listdir(tmp_path / "new/out")) == names
    for photo, areas in zip(photos, ([1, 0, 0], [0, 0, 1]), strict=True):
        record = json.loads((tmp_path / "new/out" / f"{photo.stem}.json").read_text())
        assert record["file"] == str(photo)
        assert record["areas"] == dict(zip(("red", "green", "blue"), areas, strict=True))
    output = capsys.readouterr()
    assert output.out == f"2 of 2 segmented, written to {tmp_path / 'new/out'}/\n"
    assert output.err == "", "no progress bar where there is no terminal"


def test_options_reach_the_model(tmp_path, calls):
    photo = save(tmp_path / "a.png", "red")
    more = [
        "--device",
        "cpu",
        "--dtype",
        "bfloat16",
        "--weights",
        "w.pt",
        "--opts",
        "MODEL.X",
        "-1",
        "INPUT.SIZE",
        "336",
    ]
    assert segment(photo, output=tmp_path / "out", more=more) == 0
    name, weights, device, dtype, vocabulary, opts = calls[0]
    assert (name, weights, device, dtype) == ("good.yaml", "w.pt", "cpu", "bfloat16")
    assert opts == ["MODEL.X", "-1", "INPUT.SIZE", "336"]
    assert vocabulary.classes == ("red", "green", "blue")


def test_same_names_from_different_folders_do_not_overwrite_each_other(tmp_path, calls):
    first, second = save(tmp_path / "one/a.png", "red"), save(tmp_path / "two/a.png", "blue")
    assert segment(first, second, output=tmp_path / "out") == 0
    records = {name: json.loads((tmp_path / "out" / name).read_text())["file"] for name in ("a.json", "a_2.json")}
    assert records == {"a.json": str(first), "a_2.json": str(second)}


def test_a_broken_file_is_reported_and_skipped(tmp_path, calls, capsys):
    save(tmp_path / "in/a.png", "red")
    (tmp_path / "in/b.png").write_text("no picture")
    save(tmp_path / "in/c.png", "blue")
    assert segment(tmp_path / "in", output=tmp_path / "out") == 1
    assert {path.stem for path in (tmp_path / "out").glob("*.json")} == {"a", "c"}
    assert not list((tmp_path / "out").glob("b*"))
    output = capsys.readouterr()
    skipped, count = output.err.splitlines()
    assert skipped.startswith(f"ovss: skipped: {tmp_path}/in/b.png: not a readable picture")
    assert count == "ovss: 1 of 3 could not be segmented"
    assert output.out == f"2 of 3 segmented, written to {tmp_path}/out/\n"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": ["absent.png"]}, "absent.png: no such file or folder"),
        ({"words": "cat,,wall"}, "an empty word in the vocabulary 'cat,,wall'"),
        ({"words": "absent.json"}, "class file absent.json: cannot be read"),
        ({"config": "absent.yaml"}, "config absent.yaml: no such file"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(tmp_path, calls, capsys, changed, message):
    inputs = changed.get("inputs", [save(tmp_path / "a.png", "red")])
    others = {name: value for name, value in changed.items() if name != "inputs"}
    assert segment(*inputs, output=tmp_path / "out", **others) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ovss: error: {message}")
    assert not (tmp_path / "out").exists()


def test_no_words_at_all(tmp_path, calls, capsys):
    photo = save(tmp_path / "a.png", "red")
    assert main(["segment", "--config-file", "good.yaml", "--input", str(photo), "--output", str(tmp_path)]) == 2
    assert "no words to look for: give a vocabulary (--vocabulary)" in capsys.readouterr().err


def test_an_output_that_is_a_file(tmp_path, calls, capsys):
    photo = save(tmp_path / "a.png", "red")
    assert segment(photo, output=photo) == 2
    assert capsys.readouterr().err.startswith("ovss: error: ")
    assert np.asarray(Image.open(photo)).shape == (4, 6, 3), "the file is as it was"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["segment", "--input", "a.png", "--output", "out"], "one of the arguments --model --config-file is required"),
        (["segment", "--config-file", "a", "--input", "--output", "out"], "--input: expected at least one argument"),
    ],
)
def test_bad_usage_exits_2_with_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ovss: error: ")
    assert message in line
    assert line.endswith("--help)")


def test_json_is_a_line_for_each_picture_and_one_at_the_end(tmp_path, calls, capsys):
    photos = [save(tmp_path / "a.png", "red"), save(tmp_path / "b.png", "blue")]
    (tmp_path / "c.png").write_text("no picture")
    more = ["--json", "--outputs", "labels", "rle", "--batch-size", "2"]
    assert segment(*photos, tmp_path / "c.png", output=tmp_path / "out", more=more) == 1
    *records, failed, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [record["file"] for record in records] == list(map(str, photos))
    assert failed["file"] == str(tmp_path / "c.png")
    assert failed["error"].startswith("not a readable picture")
    assert records[1] == json.loads((tmp_path / "out/b.json").read_text())
    assert last == {
        "segmented": 2,
        "done_before": 0,
        "failed": 1,
        "output": str(tmp_path / "out"),
        "files": [str(tmp_path / "out/coco_segments.json")],
    }


def test_resume_leaves_out_what_is_done(tmp_path, calls, capsys):
    photos = [save(tmp_path / f"{name}.png", "red") for name in "abc"]
    assert segment(*photos[:2], output=tmp_path / "out") == 0
    before = (tmp_path / "out/a.json").stat().st_mtime_ns
    (tmp_path / "out/b_labels.png").unlink()
    capsys.readouterr()
    assert segment(*photos, output=tmp_path / "out", more=["--resume"]) == 0
    assert capsys.readouterr().out == f"2 of 3 segmented, 1 were done before, written to {tmp_path / 'out'}/\n"
    assert (tmp_path / "out/a.json").stat().st_mtime_ns == before
    assert (tmp_path / "out/b_labels.png").exists()


def test_resume_is_of_the_same_model(tmp_path, calls, capsys, monkeypatch):
    photo = save(tmp_path / "a.png", "red")
    assert segment(photo, output=tmp_path / "out") == 0
    monkeypatch.setattr(Predictor, "run_key", lambda self: "another model")
    capsys.readouterr()
    assert segment(photo, output=tmp_path / "out", more=["--resume"]) == 0
    assert capsys.readouterr().out.startswith("1 of 1 segmented, written")


def test_inputs_are_never_overwritten(tmp_path, calls, capsys):
    photos = [save(tmp_path / name, "red") for name in ("a.png", "a_labels.png")]
    before = photos[1].read_bytes()
    assert segment(tmp_path, output=tmp_path) == 2
    assert "which is an input: give another --output" in capsys.readouterr().err
    assert photos[1].read_bytes() == before


def test_files_that_no_run_has_written_stay(tmp_path, calls, capsys):
    """A label file of labelme beside the picture, and a folder beside the film: known before the model is built."""
    photo = save(tmp_path / "lm/cat.jpg", "red")
    (tmp_path / "lm/cat.json").write_text('{"shapes": []}')
    assert segment(photo, output=tmp_path / "lm", more=["--resume"]) == 2
    assert f"{tmp_path}/lm/cat.json is there, and of no earlier run" in capsys.readouterr().err
    assert (tmp_path / "lm/cat.json").read_text() == '{"shapes": []}'
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "out/clip_labels").mkdir(parents=True)
    assert segment(tmp_path / "clip.mp4", output=tmp_path / "out") == 2
    assert f"{tmp_path}/out/clip_labels is there" in capsys.readouterr().err
    assert not calls


@pytest.mark.parametrize("output", ["rle", "panoptic"])
def test_other_words_are_refused_before_the_model_runs(tmp_path, calls, capsys, output):
    first, second = save(tmp_path / "a.png", "red"), save(tmp_path / "b.png", "red")
    more = ["--outputs", output]
    assert segment(first, output=tmp_path / "out", more=more) == 0
    assert segment(second, output=tmp_path / "out", words="sofa, cat, wall", more=more) == 2
    assert "a.json was segmented with other words" in capsys.readouterr().err
    assert not (tmp_path / "out/b.json").exists()
    assert segment(first, second, output=tmp_path / "out", words="sofa, cat, wall", more=more) == 0


def test_a_listed_file_that_is_not_there_costs_itself(tmp_path, calls, capsys, monkeypatch):
    photo = save(tmp_path / "a.png", "red")
    listed = io.BytesIO(os.fsencode(f"{tmp_path}/absent.png\n{photo}\n"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(listed))
    assert segment("-", output=tmp_path / "out") == 1
    assert "absent.png: no such file" in capsys.readouterr().err
    assert (tmp_path / "out/a.json").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no pipes that break")
def test_a_reader_that_has_had_enough():
    command = f"{sys.executable} -m ovss reproduce --list | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert int(done.stdout.splitlines()[-1]) in (0, 128 + signal.SIGPIPE)


def test_videos_have_two_outputs(tmp_path, calls, capsys):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert segment(tmp_path / "a.mp4", output=tmp_path / "out", more=["--outputs", "rle"]) == 2
    assert "unknown output 'rle' of a video; known: overlay, labels" in capsys.readouterr().err


def test_a_batch_size_of_nothing(tmp_path, calls, capsys):
    assert segment(save(tmp_path / "a.png", "red"), output=tmp_path / "out", more=["--batch-size", "0"]) == 2
    assert "--batch-size 0: give at least 1" in capsys.readouterr().err


def test_an_interrupt_is_one_line(monkeypatch, capsys):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["info"], "run", stop)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "ovss: interrupted\n"


def run_python(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment)


def test_version_help_and_demo():
    assert run_python("-m", "ovss", "--version").stdout == f"ovss {ovss.__version__}\n"
    assert "segment" in run_python("-m", "ovss", "--help").stdout
    demo = run_python(str(ROOT / "demo/demo.py"), "--help").stdout
    assert demo == run_python("-m", "ovss", "segment", "--help").stdout


def test_help_loads_nothing_heavy():
    heavy = "{'torch', 'numpy', 'PIL', 'cv2', 'open_clip', 'tqdm'} & set(sys.modules)"
    assert run_python("-c", f"import sys, ovss.cli; ovss.cli.build_parser(); print({heavy})").stdout == "set()\n"


def test_unknown_words_end_the_run_and_thin_pictures_do_not(tmp_path, capsys):
    """With the real embedded model: a mistake in the words is the run's, a picture that cannot be resized its own."""
    Image.new("RGB", (4000, 3)).save(tmp_path / "a.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "b.png")
    config = str(Path(__file__).parent.parent / "configs/quickstart/cliptrase.yaml")
    given = ["segment", "--config-file", config, "--input", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main([*given, "--device", "cpu", "--vocabulary", "zebra, sand"]) == 2
    assert "does not know ['zebra']" in capsys.readouterr().err
    assert main([*given, "--device", "cpu"]) == 1
    assert "a.png: a picture of 4000 x 3 px is too thin" in capsys.readouterr().err
    assert (tmp_path / "out/b_labels.png").is_file()
