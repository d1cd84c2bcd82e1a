"""The main job as users run it: real processes, the table, the files they leave, the exit codes of mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
CAT_SEG = ["--config-file", "configs/cat_seg/vitb_384.yaml"]
QUICKSTART = ["--config-file", "configs/quickstart/cliptrase.yaml"]


def run(*arguments, **environment):
    """Run train_net.py with two threads in all and return the finished process."""
    return subprocess.run(
        [sys.executable, "train_net.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
    )


def evaluate(folder, *arguments):
    done = run("--eval-only", *QUICKSTART, *arguments, "OUTPUT_DIR", str(folder), "DATALOADER.NUM_WORKERS", "0")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "inference/scenes_val.json").read_text()), done.stdout + done.stderr


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("single"))


def test_quickstart_means_something(single):
    """Far above chance (1 of 40) and above calling everything the most frequent class."""
    result, log = single
    counts = [sum(row) for row in result["confusion"]]
    assert result["scores"]["pAcc"] > 1.5 * 100 * max(counts) / sum(counts)
    assert result["scores"]["mIoU_gt"] > 35
    assert "mIoU_gt[unseen]" in result["scores"]
    assert log.count("engine: ") == 1
    assert "running on the CPU" in log


@pytest.mark.slow
def test_two_processes_give_the_same_table(single, tmp_path):
    result, log = evaluate(tmp_path, "--num-gpus", "2", "MODEL.DEVICE", "cpu")
    assert result == single[0]
    assert "world size" in log.lower() or "of 2" in log


MISTAKES = {
    "no config": (["--eval-only"], "no --config-file: take one of configs/"),
    "training-free": (QUICKSTART, "CLIPtrase is training-free, there is nothing to train: add --eval-only"),
    "nothing to train on": ([*CAT_SEG, "DATASETS.TRAIN", "()"], "DATASETS.TRAIN is empty: name a data set"),
    "unknown data": (
        [*CAT_SEG, "DATASETS.TRAIN", "('scenes',)"],
        "DATASETS.TRAIN names 'scenes', which is no data set",
    ),
    "no steps": ([*CAT_SEG, "DATASETS.TRAIN", "('scenes_val',)", "SOLVER.MAX_ITER", "0"], "SOLVER.MAX_ITER 0: must be"),
    "nothing to resume": (
        ["--eval-only", "--resume", *QUICKSTART],
        "--resume, but there is no checkpoint in OUTPUT_DIR",
    ),
    "unknown key": (
        ["--eval-only", *QUICKSTART, "MODEL.CLIP.NAM", "x"],
        "unknown key MODEL.CLIP.NAM; did you mean MODEL.CLIP.NAME",
    ),
    "too many GPUs": (["--eval-only", *QUICKSTART, "--num-gpus", "9"], "--num-gpus 9, but this machine has 0"),
    "no data": (["--eval-only", "--config-file", "configs/cliptrase/vitb16_224.yaml"], "DATASETS.TEST is empty"),
    "folder": (["--eval-only", *QUICKSTART, "DATASETS.TEST", "('folder',)"], "DATASETS.FOLDER.IMAGES is empty"),
    "weights": (["--eval-only", *QUICKSTART, "MODEL.CLIP.WEIGHTS", "nowhere.pt"], "nowhere.pt: no such file or folder"),
    "not its weights": (["--eval-only", *QUICKSTART, "MODEL.WEIGHTS", "x.pth"], "CLIP's go to MODEL.CLIP.WEIGHTS"),
    "prompts": (["--eval-only", *QUICKSTART, "MODEL.TEXT.PROMPTS", "vlid"], "unknown prompt set 'vlid'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_end_with_one_line_and_exit_code_2(case, tmp_path):
    arguments, message = MISTAKES[case]
    done = run(*arguments, *(["OUTPUT_DIR", str(tmp_path / "out")] if len(arguments) > 2 else []))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("train_net.py: error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out/inference").exists()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_bad_data_ends_with_one_line_from_any_process(processes, tmp_path):
    """A label of another size, met by a child process or after a loader process: no traceback, exit code 2."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(2):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / f"labels/{index}.png")
    (tmp_path / "classes.txt").write_text("red star\nsand\n")
    paths = {"IMAGES": "images", "LABELS": "labels", "CLASSES": "classes.txt"}
    named = [word for key, name in paths.items() for word in (f"DATASETS.FOLDER.{key}", str(tmp_path / name))]
    opts = ["MODEL.DEVICE", "cpu", "DATASETS.TEST", "('folder',)", *named, "OUTPUT_DIR", str(tmp_path / "out")]
    done = run("--eval-only", *QUICKSTART, "--num-gpus", str(processes), *opts)
    assert done.returncode == 2, done.stderr[-1000:]
    assert "is 50 x 40 px, its picture" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out/inference").iterdir())
