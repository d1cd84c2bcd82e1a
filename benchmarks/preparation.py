"""Pictures per second of `ovss datasets prepare`, whole runs of the command, its start included.

    python benchmarks/preparation.py [--pictures 1000] [--runs 5] [--official CAT-Seg/datasets/prepare_coco_stuff.py]

Label images of COCO-Stuff's size and values, and photos as heavy as COCO's, are drawn into a temporary folder. With
--official the authors' script runs on the same files in turn. "kept" is a second run, which reads what the first has
written. Prints a Markdown table; a ratio is the median of those run by run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
HEIGHT, WIDTH, REGIONS = 480, 640, 15
NOISE = 96  # grey levels, of the photos: files of 160 kB, as those of COCO are on average


def draw(root: Path, count: int) -> None:
    """Pairs of val2017, regions of one value each around random points; train2017 stays empty."""
    random = np.random.default_rng(0)
    folders = [root / "coco-stuff" / kind / "val2017" for kind in ("annotations", "images")]
    for folder in folders:
        folder.mkdir(parents=True)
        folder.with_name("train2017").mkdir()
    for index in range(count):
        labels, photo = draw_pair(random, [0, *range(91, 182), 255])
        Image.fromarray(labels).save(folders[0] / f"{index:012d}.png")
        Image.fromarray(photo).save(folders[1] / f"{index:012d}.jpg")


def draw_pair(random: np.random.Generator, values: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H,W) uint8, regions of one of the values each around random points, and the photo (H,W,3)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    y, x = random.uniform(0, HEIGHT, REGIONS), random.uniform(0, WIDTH, REGIONS)
    nearest = np.argmin((rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2, axis=2)
    labels = random.choice(values, REGIONS).astype(np.uint8)[nearest]
    grain = random.integers(-NOISE, NOISE + 1, (HEIGHT, WIDTH, 3))
    return labels, np.clip(labels[..., None] + grain, 0, 255).astype(np.uint8)


def seconds(command: list[str], root: Path) -> float:
    """Of one run on the data sets below `root`."""
    start = time.perf_counter()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "DETECTRON2_DATASETS": str(root), "PYTHONPATH": path}
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--official", metavar="SCRIPT", help="prepare_coco_stuff.py of CAT-Seg's authors")
    args = parser.parse_args()
    prepare = ["-m", "ovss", "datasets", "prepare", "coco_stuff", "--split", "val"]
    work = {
        "all cores": [*prepare, "--overwrite"],
        "one process": [*prepare, "--overwrite", "--workers", "1"],
        "all cores, kept": prepare,
    }
    if args.official:
        work = {"the authors' script": [args.official], **work}
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), args.pictures)
        times: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(args.runs):  # in turn, so that a drifting machine hits all alike
            for name, command in work.items():
                times[name].append(seconds(command, Path(folder)))
    print(f"{args.pictures} label images of {WIDTH} x {HEIGHT}, {os.cpu_count()} cores, {args.runs} runs\n")
    print("| work | pictures per second, median | min to max | ratio to the first row |\n|---|---:|---:|---:|")
    unit = next(iter(times.values()))
    for name, values in times.items():
        ratio = statistics.median(one / value for value, one in zip(values, unit, strict=True))
        slow, middle, fast = (args.pictures / value for value in (max(values), statistics.median(values), min(values)))
        print(f"| {name} | {middle:.0f} | {slow:.0f} to {fast:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
