"""The smaller commands as a user meets them: info, bench, completion, train and eval."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ovss
from ovss.cli import build_parser, main
from ovss.commands import completion

ROOT = Path(__file__).parent.parent


def test_info_says_what_is_there(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("OVSS_CACHE", str(tmp_path))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "none"))
    (tmp_path / "a").write_bytes(bytes(3 * 2**20))
    (tmp_path / "gone").symlink_to("nowhere")
    assert main(["info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ovss"] == ovss.__version__
    assert told["engine"].startswith(("lite", "detectron2"))
    assert told["cache"] == f"{tmp_path} (3 MiB)"
    assert told["data sets"] == f"{tmp_path}/none (not there)"
    assert any(line.startswith("torch ") for line in told["packages"])
    assert told["devices"][-1].startswith("cpu ")
    assert main(["info"]) == 0
    assert f"cache        {tmp_path} (3 MiB)" in capsys.readouterr().out.splitlines()


def test_info_lists_models(capsys):
    assert main(["info", "--models"]) == 0
    assert capsys.readouterr().out.split() == ovss.list_models()
    assert main(["info", "--models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ovss.list_models()


def test_bench_measures_the_model_that_is_asked_for(capsys):
    given = ["bench", "--model", "quickstart/cliptrase", "--device", "cpu", "--size", "96", "128"]
    assert main([*given, "--runs", "2", "--batch-size", "2", "--vocabulary", "sand, grass", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["picture"], told["words"], told["batch size"]) == ("96 x 128", 2, 2)
    assert 0 < told["min ms"] <= told["median ms"] <= told["max ms"]
    assert told["pictures per second"] == pytest.approx(2000 / told["median ms"], rel=0.05)
    assert told["peak MiB"] > 50
    assert main([*given, "--runs", "0"]) == 2
    assert "--runs 0" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash in the path")
def test_bash_completes_commands_and_options(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "ovss.bash").write_text(capsys.readouterr().out)
    ask = """
source ovss.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$(complete -p ovss | sed 's/.*-F \\([^ ]*\\).*/\\1/') && printf '%s\\n' "${COMPREPLY[@]}"
"""

    def completed(*words):
        done = subprocess.run(["bash", "-c", ask, "bash", *words], cwd=tmp_path, capture_output=True, text=True)
        return set(done.stdout.split())

    assert completed("ovss", "se") == {"segment"}
    assert {"train", "eval", "export", "app", "info", "weights"} <= completed("ovss", "")
    assert completed("ovss", "segment", "--voc") == {"--vocabulary"}
    assert completed("ovss", "segment", "--dtype", "bf") == {"bfloat16"}
    (tmp_path / "photos").mkdir()
    (tmp_path / "phone.jpg").touch()
    assert completed("ovss", "segment", "--input", "ph") == {"photos", "phone.jpg"}
    assert completed("ovss", "segment", "--input", "a.jpg", "ph") == {"photos", "phone.jpg"}
    assert completed("ovss", "segment", "--input", "a.jpg", "--voc") == {"--vocabulary"}
    assert completed("ovss", "segment", "--output", "ph") == {"photos"}
    assert completed("ovss", "segment", "--model", "cat_seg/vitb_3") == {"cat_seg/vitb_384"}
    assert completed("ovss", "app", "--cat-seg", "ph") == {"photos", "phone.jpg"}
    assert completed("ovss", "weights", "download", "clip_vitb1") == {"clip_vitb16"}
    assert "ade20k_150_val" in completed("ovss", "datasets", "check", "ade20k_150_v")
    assert completed("ovss", "train", "--config-file", "cat_seg/vitl_3") == {"cat_seg/vitl_336"}
    assert completed("ovss", "eval", "--num") == {"--num-gpus", "--num-machines"}


def test_completion_knows_the_options_of_training():
    text = "".join(re.findall(r"usage: .*?opts", run("train", "--help").stdout, re.S))
    assert set(re.findall(r"--[a-z-]+", text)) - {"--help"} == {*completion.TRAINING}


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "segment" in capsys.readouterr().out


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "ovss", *words], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_train_and_eval_are_train_net(tmp_path):
    """Its options, its messages under the name of the command, its exit codes."""
    done = run("train", "--config-file", "quickstart/cliptrase")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ovss train: error: CLIPtrase is training-free, there is nothing to train: add --eval-only"
    shown = run("eval", "--help").stdout
    assert shown.startswith("usage: ovss eval")
    assert "ovss eval --config-file FILE --num-gpus 4" in shown
    opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path), "DATALOADER.NUM_WORKERS", "0"]
    done = run("eval", "--config-file", "quickstart/maskclip", "DATASETS.TEST", "('scenes_val',)", *opts)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "inference/scenes_val.json").read_text())["scores"]
    assert 40 < scores["mIoU_gt"] < 60  # README's table


def test_every_command_has_a_line_of_help():
    shown = build_parser().format_help()
    for name in ("segment", "eval", "train", "export", "datasets", "weights", "reproduce", "bench", "app", "info"):
        assert re.search(rf"^    {name}\s+\S", shown, re.MULTILINE)
