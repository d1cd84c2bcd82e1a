"""Time per image of CLIPtrase and its baselines, as ratios to plain CLIP encoding of the same image in the same run.

    python benchmarks/cliptrase.py [--arch ViT-B/16] [--classes 150] [--runs 7] [--device cpu]

Weights are random (times do not depend on them), so nothing is downloaded. The text is encoded beforehand, as in an
evaluation. Prints a Markdown table: median and range of each row in ms, and the median of its ratios run by run.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Run as a file, this folder comes first on the path, and this file would hide the package of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
import torch.nn.functional as F

from cliptrase.correlation import keep_correlation, self_self_attention
from cliptrase.dbscan import dbscan
from cliptrase.median import median_filter
from cliptrase.model import CLIPtrase, Regions
from ovss.clip.model import CLIP, architecture_config

PAPER = {224: Regions(eps=0.7, min_points=3), 336: Regions(eps=1.1, min_points=7)}


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds of one call, the device's queue included."""
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def rows(clip: CLIP, size: int, classes: int, device: str) -> dict[str, Callable[[], object]]:
    """What is timed at one image size; the first row is the unit."""
    torch.manual_seed(0)
    side = size // clip.visual.patch_size * clip.visual.patch_size
    images = torch.rand(1, 3, side, side, device=device)
    text = F.normalize(torch.randn(classes, 1, clip.visual.proj.shape[1], device=device), dim=-1)
    # The radius at which random weights give some regions and some noise, as photos do with trained ones.
    full = CLIPtrase(clip=clip, regions=PAPER[size]).to(device).eval()
    _, correlation = full.encode(images)
    assert correlation is not None
    nearest = torch.cdist(correlation, correlation).flatten(1).kthvalue(4 * correlation.shape[1], dim=1).values
    full.regions = Regions(eps=float(nearest), min_points=PAPER[size].min_points)
    plain = CLIPtrase(clip=clip, attention="plain", fusion="none").to(device).eval()
    value = CLIPtrase(clip=clip, attention="value", fusion="none").to(device).eval()
    maps = torch.rand(20, 4 * (side // clip.visual.patch_size), 4 * (side // clip.visual.patch_size), device=device)
    rules = {-2: keep_correlation, -1: self_self_attention}
    return {
        "CLIP image tower alone (unit)": lambda: clip.visual(images, positions="offset"),
        f"plain CLIP, {classes} classes": lambda: plain(images, text),
        f"MaskCLIP, {classes} classes": lambda: value(images, text),
        f"CLIPtrase, {classes} classes": lambda: full(images, text),
        "of it: tower with both blocks replaced": lambda: clip.visual(images, positions="offset", rules=rules),
        "of it: DBSCAN": lambda: dbscan(correlation, full.regions.eps, full.regions.min_points),
        "of it: median filter of 20 region maps": lambda: median_filter(maps, 7),
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="ViT-B/16")
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    clip = CLIP(architecture_config(args.arch)).to(args.device).eval()
    print(f"{args.arch}, {args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch 1\n")
    print("| size | work | median ms | min to max | ratio to the unit |\n|---|---|---:|---:|---:|")
    for size in PAPER:
        work = rows(clip, size, args.classes, args.device)
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for run in range(args.runs + 1):  # rows in turn, so that a drifting machine hits all alike; the first warms up
            for name, call in work.items():
                elapsed = timed(call, args.device)
                if run:
                    seconds[name].append(elapsed)
        unit = next(iter(seconds.values()))
        for name, values in seconds.items():
            ratio = statistics.median(value / one for value, one in zip(values, unit, strict=True))
            low, middle, high = (1000 * value for value in (min(values), statistics.median(values), max(values)))
            print(f"| {size} | {name} | {middle:.1f} | {low:.1f} to {high:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
