"""The main job, offline: plain CLIP, MaskCLIP, CLIPtrase and CAT-Seg on drawn scenes, with the embedded tiny CLIP.

    python demo/quickstart.py --output output/quickstart            # the CAT-Seg that is embedded too
    python demo/quickstart.py --output output/quickstart --train    # trains it first

Prints one table of scores and where the pictures are: a sheet that compares the methods, overlays with legends, and the
global-patch picture. One of the evaluations, and the training, by hand:

    python train_net.py --eval-only --config-file configs/quickstart/cliptrase.yaml
    python train_net.py --config-file configs/quickstart/cat_seg.yaml
"""

import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ovss.clip.model import ASSETS
from ovss.d2.api import DatasetCatalog, MetadataCatalog, build_model
from ovss.d2.evaluator import evaluate
from ovss.d2.mapper import InputTransform
from ovss.d2.protocol import describe
from ovss.datasets.pairs import read_labels
from ovss.files import write_atomic
from ovss.hub import load
from ovss.images import read_image
from ovss.predictor import Predictor
from ovss.results import results_table
from ovss.visualize import contact_sheet, overlay

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs/quickstart"
METHODS = {"clip": "plain CLIP", "maskclip": "MaskCLIP", "cliptrase": "CLIPtrase", "cat_seg": "CAT-Seg"}
DATASET = "scenes_val"
SHOWN = (0, 1, 2, 4, 6, 11)  # scenes of the sheet: all grounds, one to three objects, some that overlap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("output/quickstart"), help="folder for scores and pictures")
    parser.add_argument("--train", action="store_true", help="train CAT-Seg first, a few minutes")
    args = parser.parse_args()
    output = args.output
    files = {method: CONFIGS / f"{method}.yaml" for method in METHODS}
    files["cat_seg"], made = train_cat_seg(output) if args.train else (ASSETS / "tiny_cat_seg.safetensors", "embedded")
    results, predictors, prompts = {}, {}, []
    protocol: dict[str, str] = {}
    for method, title in METHODS.items():
        print(f"{title} on the drawn scenes ...", flush=True)
        cfg = load(str(files[method]), settings(output / method))
        model = build_model(cfg).eval()
        results[title] = evaluate(cfg, model)[DATASET]
        told = describe(cfg)
        protocol = protocol or told  # one for all but the prompts; the embedded CAT-Seg's config has no name for it
        prompts.append(f"{title} {told['prompts']}")
        predictors[method] = Predictor(
            model, InputTransform.from_config(cfg, False), MetadataCatalog.get(DATASET).vocabulary
        )
    sheet = draw_pictures(predictors, output / "pictures")
    table = results_table(results, protocol | {"prompts": "; ".join(prompts)}, "method")
    print(
        f"\n{table}\n\nCAT-Seg: {made}\nscores: {output}/<method>/inference\n"
        f"pictures: {output / 'pictures'}, first of all {sheet}"
    )


def settings(folder: Path) -> list[str]:
    """KEY VALUE overrides of this demo."""
    return ["OUTPUT_DIR", str(folder), "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"]


def train_cat_seg(output: Path) -> tuple[Path, str]:
    """Train by the command that users give; return the packaged model, and the seed and the seconds in words."""
    folder = output / "cat_seg"
    start = time.monotonic()
    command = [sys.executable, "train_net.py", "--config-file", str(CONFIGS / "cat_seg.yaml")]
    # An interrupted training goes on; a complete one is evaluated again.
    subprocess.run([*command, "--resume", *settings(folder.resolve())], cwd=ROOT, check=True)
    seed = load(str(CONFIGS / "cat_seg.yaml")).SEED
    made = f"seed {seed}, trained and evaluated in {time.monotonic() - start:.0f} s"
    return folder / "model_final.safetensors", made


def draw_pictures(predictors: dict[str, Predictor], folder: Path) -> Path:
    """Write the comparison sheet and, for each scene on it, CLIPtrase's overlay, labels and areas; return the sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = MetadataCatalog.get(DATASET).vocabulary.classes
    records = DatasetCatalog.get(DATASET)
    tiles: list[Image.Image | np.ndarray] = []
    titles: list[str] = []
    for index in SHOWN:
        image = read_image(records[index]["file_name"])
        truth = read_labels(records[index]["sem_seg_file_name"])
        found = {method: predictor(image) for method, predictor in predictors.items()}
        stem = f"scene_{index:03d}"
        write_atomic(folder / f"{stem}.png", partial(Image.fromarray(image).save, format="PNG"))
        found["cliptrase"].named(f"{stem}.png").save(folder, stem)
        tiles += [image, overlay(image, truth, classes, legend=False)]
        tiles += [overlay(image, answer.labels, classes, legend=False) for answer in found.values()]
        titles += ["picture", "ground truth"]
        titles += [
            f"{METHODS[method]}, {100 * (answer.labels == truth).mean():.0f} % right"
            for method, answer in found.items()
        ]
    sheet = contact_sheet(tiles, titles, columns=2 + len(predictors))
    path = folder / "comparison.jpg"
    write_atomic(path, partial(sheet.save, format="JPEG", quality=90))
    return path


if __name__ == "__main__":
    main()
