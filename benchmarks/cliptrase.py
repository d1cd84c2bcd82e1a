"""CLIPtrase and its baselines, both published versions: time, share of the roofline, memory.

    python benchmarks/cliptrase.py [--words 150] [--batch 1] [--dtype float32 bfloat16] [--official FOLDER]

A photo is answered with labels, at the published settings of each version; the words are encoded beforehand, as in an
evaluation. The weights are made (`benchmarks/made.py`), so nothing is downloaded. With --official the authors' code
(`benchmarks/official.py`) runs in turn, in float32. Columns: `benchmarks/measure.py`.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Run as a file, this folder comes first on the path, and this file would hide the package of the same name.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import torch

from benchmarks import official_cliptrase
from benchmarks.made import made_clip, made_text, photo_tensor
from benchmarks.measure import add_options, exit_code, measure
from benchmarks.roofline import DTYPES
from benchmarks.workers import Row, Work

CONFIGS = {"224": "vitb16_224", "336": "vitb16_336", "d2": "vitb16_d2"}
BASELINES = {"plain CLIP": "clip", "MaskCLIP": "maskclip"}


def make(config: str, part: str, args: argparse.Namespace) -> Work:
    """`part` of the work of a config of configs/cliptrase on the photo: all of it, "labels", or less."""
    import cliptrase.d2
    from ovss import hub
    from ovss.allocator import keep_freed_memory
    from ovss.inference import fit

    keep_freed_memory()
    cfg = hub.load(str(ROOT / f"configs/cliptrase/{config}.yaml"), ["MODEL.DEVICE", args.device, *args.opts])
    cliptrase.d2.load_clip = lambda name, _: made_clip(name, args.device)  # type: ignore
    model = cliptrase.d2.CLIPtrase.from_config(cfg)["model"].to(args.device).eval()
    text = made_text(args.words, model.clip.visual.proj.shape[1], args.device)
    side = cfg.INPUT.MIN_SIZE_TEST
    size = (side, side) if cfg.INPUT.CENTER_CROP_TEST else tuple(args.photo)
    picture = photo_tensor(*size).to(args.device) / 255
    picture = fit(picture, model.size_divisibility, cfg.INPUT.SIZE_FIT, model.pixel_mean)
    images = picture.expand(args.batch, -1, -1, -1).contiguous()
    with torch.no_grad():
        features, correlation = model.encode(images)
    calls: dict[str, Callable[[], object]] = {
        "labels": lambda: model.labels(images, text, size=size),
        "scores": lambda: model(images, text, size=size),
        "tower": lambda: model.clip.visual(model.prepare(images), positions=model.positions),
        "encode": lambda: model.encode(images),
        "regions": lambda: model.regions_of(correlation, features.grid, size),
    }
    reads = [correlation] if part == "regions" else [model.clip.visual, images]
    return Work(torch.no_grad()(calls[part]), [*reads, text] if part in ("labels", "scores") else reads)


def rows(args: argparse.Namespace) -> list[Row]:
    found = []

    def add(name: str, config: str, part: str) -> None:
        for dtype in args.dtype:
            full = name + (f", {dtype}" if dtype != "float32" else "")
            full += f", {args.batch} at once, each" if args.batch > 1 else ""
            found.append(Row(full, partial(make, config, part, args), dtype=dtype, scale=1 / args.batch))

    for version in args.versions:
        config = CONFIGS[version]
        if version == "d2":
            photo = f"{args.photo[0]} x {args.photo[1]}"
            add(f"{photo}: CLIPtrase, Detectron2 version", config, "labels")
            add(f"{photo}: the same, scores of all words", config, "scores")
            theirs = partial(
                official_cliptrase.detectron2_version, args.official, args.device, args.words, tuple(args.photo)
            )
            name = f"{photo}: the authors' Detectron2 version, scores"
        else:
            add(f"{version}: CLIP image tower", config, "tower")
            if version == "224":
                for baseline, other in BASELINES.items():
                    add(f"{version}: {baseline}", other, "labels")
            add(f"{version}: CLIPtrase", config, "labels")
            add(f"{version}: of it, tower and correlation", config, "encode")
            add(f"{version}: of it, regions", config, "regions")
            theirs = partial(official_cliptrase.paper, args.official, args.device, args.words, int(version))
            name = f"{version}: the authors' CLIPtrase"
        if args.official:
            found.append(Row(name, theirs))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, runs=7)
    parser.add_argument("--words", type=int, default=150)
    parser.add_argument("--versions", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    sides = "H and W of the photo that the Detectron2 version answers, which takes any shape"
    parser.add_argument("--photo", nargs=2, type=int, default=[640, 962], metavar="PX", help=sides)
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--batch", type=int, default=1, help="pictures at once; figures are of one")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="other settings of all rows")
    parser.add_argument("--official", metavar="FOLDER", help="where the authors' repositories lie")
    args = parser.parse_args()
    print(f"{args.words} words; ", end="")
    sys.exit(exit_code(measure(rows(args), args)))


if __name__ == "__main__":
    main()
