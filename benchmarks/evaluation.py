"""Time from a model's scores to the counted picture: this project's evaluation beside Detectron2's, on the CPU.

    python benchmarks/evaluation.py [--classes 847] [--runs 5] [--threads 1 2]

Scores are random, smooth and noisy as a model's are, on CAT-Seg's grid (96 x 96) and on CLIPtrase's (21 x 21); the
picture has 512 x 683 pixels. Detectron2's way is to resize all scores, as its models do, and to give them to its
SemSegEvaluator. The counts of both are compared first. Prints a Markdown table: median and range of each row in ms, and
the median of its ratios run by run. Without Detectron2 the rows that need it are left out, which the table says.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Run as a file, this folder comes first on the path, and this file would hide what it is named after.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ovss.d2 import catalog
from ovss.d2.sem_seg_evaluator import SemSegEvaluator
from ovss.labels import resized_labels
from ovss.vocabulary import Vocabulary

SIZE = (512, 683)
# Grid of the scores, of the smooth part of them, and the share of noise in its standard deviation.
GRIDS = {"96 x 96 (CAT-Seg)": ((96, 96), 12, 0.05), "21 x 21 (CLIPtrase)": ((21, 21), 8, 0.15)}
NAME = "benchmark_evaluation"


def made_scores(classes: int, grid: tuple[int, int], coarse: int, noise: float) -> Tensor:
    """(1,K,h,w), seeded."""
    generator = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.randn(1, classes, coarse, coarse, generator=generator), grid, mode="bicubic")
    return smooth + noise * torch.randn(1, classes, *grid, generator=generator)


def register(folder: Path, classes: int, labels: Tensor) -> dict:
    """Enter a data set of one picture, most of whose labels are those of the answer; return its record."""
    wrong = torch.rand(SIZE, generator=torch.Generator().manual_seed(0)) < 0.3
    truth = labels.where(~wrong, labels.flip(0)).numpy().astype(np.uint16)
    truth[:20] = 65535
    Image.fromarray(truth).save(folder / "labels.png")
    record = {"file_name": "picture.jpg", "sem_seg_file_name": str(folder / "labels.png")}
    words = Vocabulary.from_words([f"class {index}" for index in range(classes)])
    catalog.register(NAME, lambda: [record], words, 65535)
    return record


def rows(scores: Tensor, record: dict) -> dict[str, Callable[[], object]]:
    """What is timed; the first row is the unit. Raises AssertionError where the two count differently."""
    ours = SemSegEvaluator(NAME)
    full = F.interpolate(scores, SIZE, mode="bilinear", align_corners=False)[0]

    def give(answer: dict[str, Tensor]) -> None:
        ours.reset()
        ours.process([record], [answer])

    def count() -> None:
        labels, best = resized_labels(scores, SIZE)
        give({"labels": labels[0], "scores": best[0]})

    own: dict[str, Callable[[], object]] = {
        "this project": count,
        "this project, given whole scores": lambda: give({"sem_seg": full}),
    }
    count()
    try:
        from detectron2.evaluation import SemSegEvaluator as Theirs
    except ModuleNotFoundError:
        return own
    theirs = Theirs(NAME, distributed=False)

    def process(answer: Tensor) -> None:
        theirs.reset()
        theirs.process([record], [{"sem_seg": answer}])

    process(full)
    assert np.array_equal(theirs._conf_matrix[:-1, :-1].T, ours.confusion.counts.numpy())
    return own | {
        "Detectron2: resize whole, then its evaluator": lambda: process(
            F.interpolate(scores, SIZE, mode="bilinear", align_corners=False)[0]
        ),
        "Detectron2, given whole scores": lambda: process(full),
    }


def measure(work: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each row, rows in turn, so that a drifting machine hits all alike; the first run warms up."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for run in range(runs + 1):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if run:
                found[name].append(1000 * (time.perf_counter() - start))
    return found


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=847)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # Detectron2 says that it leaves out the boundary IoU of so many classes
    print(f"{args.classes} classes, {SIZE[0]} x {SIZE[1]} px, torch {torch.__version__}, CPU\n")
    print("| scores | threads | work | median ms | min to max | ratio to this project |\n|---|---:|---|---:|---:|---:|")
    for grid, settings in GRIDS.items():
        scores = made_scores(args.classes, *settings)
        with tempfile.TemporaryDirectory() as folder:
            work = rows(scores, register(Path(folder), args.classes, resized_labels(scores, SIZE)[0][0]))
            for threads in args.threads:
                torch.set_num_threads(threads)
                found = measure(work, args.runs)
                unit = next(iter(found.values()))
                for name, values in found.items():
                    ratio = statistics.median(value / one for value, one in zip(values, unit, strict=True))
                    low, middle, high = min(values), statistics.median(values), max(values)
                    print(f"| {grid} | {threads} | {name} | {middle:.0f} | {low:.0f} to {high:.0f} | {ratio:.1f} |")
    if len(work) == 2:
        print("\nDetectron2 is not installed: its rows are left out.")


if __name__ == "__main__":
    main()
