"""What approximate settings of CAT-Seg's test save, and what they change: the embedded model on held-out drawn scenes.

    python benchmarks/approximations.py [--pictures 40]

Every setting is a named option that is off by default. The first row is the protocol of the published figures at the
size of the scenes: windows and a view of the whole, as many classes as in training. Prints a Markdown table: share of
labels that are the first row's, mIoU over the classes in the ground truth, and time by that of the first row, the
median of ratios picture by picture.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

# Run as a file, this folder comes first on the path, and this file would hide what it is named after.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
import torch

from ovss import scenes
from ovss.hub import build_predictor
from ovss.metrics import ConfusionMatrix, scores

MODEL = ROOT / "ovss/assets/tiny_cat_seg.safetensors"
# Windows of 128 px on a canvas of 192 px, every 64 px.
WINDOWS = {
    "TEST.SLIDING_WINDOW": True,
    "TEST.WINDOW_CANVAS": [192, 192],
    "TEST.WINDOW_SIZE": 128,
    "TEST.WINDOW_OVERLAP": 0.5,
}
FEWER = WINDOWS | {"TEST.WINDOW_CANVAS": [128, 192]}
SETTINGS: dict[str, dict] = {
    "4 windows and the whole, all classes": {},
    **{f"TEST.KEPT_CLASSES {count}": {"TEST.KEPT_CLASSES": count} for count in (20, 10, 5)},
    "TEST.WINDOW_WHOLE False": {"TEST.WINDOW_WHOLE": False},
    "2 windows: TEST.WINDOW_CANVAS [128, 192]": FEWER,
    "no windows: TEST.SLIDING_WINDOW False": {"TEST.SLIDING_WINDOW": False},
    "TEST.PRECISION bfloat16": {"TEST.PRECISION": "bfloat16"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40)
    args = parser.parse_args()
    drawn = [scenes.draw_scene((scenes.HELD_OUT_STREAM, 2, index)) for index in range(args.pictures)]
    predictors = {}
    for name, settings in SETTINGS.items():
        opts = [str(word) for pair in (WINDOWS | settings).items() for word in pair]
        predictors[name] = build_predictor(str(MODEL), opts, device="cpu")
        predictors[name](drawn[0].image)
    labels: dict[str, list[np.ndarray]] = {name: [] for name in SETTINGS}
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for scene in drawn:
        for name, predictor in predictors.items():
            start = time.perf_counter()
            labels[name].append(predictor(scene.image).labels)
            seconds[name].append(time.perf_counter() - start)
    reference = next(iter(SETTINGS))
    print(f"{args.pictures} held-out scenes, {len(scenes.CLASSES)} classes, {torch.get_num_threads()} threads\n")
    print("| setting | equal labels, % | mIoU_gt, % | time, ratio |\n|---|---:|---:|---:|")
    for name in SETTINGS:
        confusion = ConfusionMatrix(len(scenes.CLASSES))
        for scene, found in zip(drawn, labels[name], strict=True):
            confusion.update(torch.from_numpy(found), torch.from_numpy(scene.labels).long(), 255)
        pairs = zip(labels[name], labels[reference], strict=True)
        equal = statistics.mean(float((found == expected).mean()) for found, expected in pairs)
        times = zip(seconds[name], seconds[reference], strict=True)
        ratio = statistics.median(own / other for own, other in times)
        print(f"| {name} | {100 * equal:.2f} | {scores(confusion.counts).mIoU_gt:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
