"""A CAT-Seg small enough to train in a test, and pictures of squares to train it on."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
CONFIG = str(ROOT / "configs/cat_seg/vitb_384.yaml")
WORDS = ("sand", "red square", "blue square")
SMALL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.CLIP.NAME": "tiny",
    "MODEL.CAT_SEG.RESOLUTION": 64,
    "MODEL.CAT_SEG.WINDOW": 4,
    "MODEL.CAT_SEG.GUIDANCE_LAYERS": [0, 1],
    "MODEL.CAT_SEG.GUIDANCE_CHANNELS": [16, 16],
    "MODEL.CAT_SEG.GUIDANCE_WIDTH": 16,
    "MODEL.CAT_SEG.WIDTH": 32,
    "MODEL.CAT_SEG.LAYERS": 1,
    "MODEL.CAT_SEG.DECODER_WIDTHS": [16, 16],
    "MODEL.CAT_SEG.DECODER_GUIDANCE": [16, 8],
    "MODEL.CAT_SEG.CLASS_TOKENS": 4,
    "INPUT.MIN_SIZE_TRAIN": (64,),
    "INPUT.CROP.SIZE": [64, 64],
    "INPUT.SIZE_DIVISIBILITY": 64,
    "INPUT.MIN_SIZE_TEST": 64,
    "TEST.SLIDING_WINDOW": False,
    "TEST.EVAL_PERIOD": 0,
    "DATALOADER.NUM_WORKERS": 0,
    "DATASETS.TRAIN": ("folder",),
    "DATASETS.TEST": ("folder",),
    "SOLVER.MAX_ITER": 4,
    "SOLVER.BASE_LR": 0.002,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 1.0,
    "SEED": 7,
}


def write_squares(folder, count=6):
    """Pictures of 60 x 80 px, a square of one of two colours on sand, a column without label; opts that name them."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        image = rng.integers(170, 220, (60, 80, 3)).astype(np.uint8)
        labels = np.zeros((60, 80), np.uint8)
        y, x = rng.integers(0, 30, 2)
        colour = index % 2
        image[y : y + 30, x : x + 30] = ((220, 30, 30), (30, 30, 220))[colour]
        labels[y : y + 30, x : x + 30] = 1 + colour
        labels[:, -4:] = 255
        Image.fromarray(image).save(folder / f"images/{index}.png")
        Image.fromarray(labels).save(folder / f"labels/{index}.png")
    (folder / "classes.txt").write_text("\n".join(WORDS) + "\n")
    places = {"IMAGES": "images", "LABELS": "labels", "CLASSES": "classes.txt"}
    return {f"DATASETS.FOLDER.{key}": str(folder / name) for key, name in places.items()}


def as_opts(*settings):
    """KEY VALUE words of dicts, the later ones winning."""
    merged = {key: value for part in settings for key, value in part.items()}
    return [word for key, value in merged.items() for word in (key, str(value))]


def start_training(folder, *arguments, settings, **how):
    """A process that runs train_net.py on the CPU, with its output in a folder; `how` is Popen's."""
    opts = as_opts(SMALL, settings, {"OUTPUT_DIR": str(folder)})
    return subprocess.Popen(
        [sys.executable, "train_net.py", "--config-file", CONFIG, *arguments, *opts],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        **how,
    )
