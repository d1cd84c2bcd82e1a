"""CAT-Seg under its published sliding window, from 1 word to 10,000: time, share of the roofline, memory.

    python benchmarks/cat_seg.py [--words 1 20 150 847] [--dtype float32 bfloat16] [--plot FILE.png] [--official FOLDER]

A picture of 640 x 853 px is answered with labels. Weights and text embeddings are random (times do not depend on them),
so nothing is downloaded, and no words are encoded. Above 256 words every view keeps the 256 best, as published; of more
than 847 all are kept. With --official the authors' code (`benchmarks/official.py`) runs in turn, in float32; its answer
are scores. Columns: `benchmarks/measure.py`.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

# Run as a file, this folder comes first on the path, and this file would hide the package of the same name.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import torch

from benchmarks import official_cat_seg
from benchmarks.made import made_text
from benchmarks.measure import Measured, add_options, exit_code, measure
from benchmarks.roofline import DTYPES
from benchmarks.workers import Row, Work

PUBLISHED_WORDS = 847  # the largest vocabulary that was published; of more words none is left out
TRUNCATED = " (above 256 every view keeps 256, as published; above 847 all)"


def make(words: int, args: argparse.Namespace) -> Work:
    from cat_seg.d2 import build_cat_seg, sliding_window
    from ovss import hub
    from ovss.allocator import keep_freed_memory
    from ovss.clip.model import CLIP, architecture_config

    keep_freed_memory()
    kept = ["TEST.KEPT_CLASSES", "0"] if args.keep_all or words > PUBLISHED_WORDS else []
    cfg = hub.load(args.config_file, ["MODEL.DEVICE", args.device, *kept, *args.opts])
    torch.manual_seed(0)
    clip = CLIP(architecture_config(cfg.MODEL.CLIP.NAME))
    model = build_cat_seg(cfg, clip, prompts=1).to(args.device).eval()
    model.aggregator.memory_budget = cfg.MODEL.MEMORY_BUDGET * 2**20
    text = made_text(words, clip.visual.proj.shape[1], args.device)
    images = torch.rand(args.batch, 3, *args.size, device=args.device)
    window = sliding_window(cfg)
    own_parts = [part for name, part in model.named_children() if name != "clip"]
    return Work(lambda: window.labels(model, images, text), (clip.visual, own_parts, images, text))


def rows(args: argparse.Namespace) -> list[Row]:
    found = []
    for words in args.words:
        for dtype in args.dtype:
            name = f"CAT-Seg, {words} words" + (f", {dtype}" if dtype != "float32" else "")
            name += f", {args.batch} pictures at once, each" if args.batch > 1 else ""
            found.append(Row(name, partial(make, words, args), dtype=dtype, scale=1 / args.batch))
        if args.official and words <= PUBLISHED_WORDS:
            theirs = partial(official_cat_seg.sliding_window, args.official, args.device, words, tuple(args.size))
            found.append(Row(f"the authors' CAT-Seg, {words} words", theirs))
    return found


def plot(path: str, title: str, xlabel: str, words: Sequence[int], found: Sequence[Measured]) -> None:
    """Seconds against words, both axes logarithmic, a line for each number format and for the authors' code."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines: dict[str, list[tuple[int, float]]] = {}
    for row in found[1:]:
        if row.seconds:
            count = next(count for count in words if f", {count} words" in row.work)
            name = "the authors' code" if row.work.startswith("the authors'") else f"this project, {row.dtype}"
            lines.setdefault(name, []).append((count, statistics.median(row.seconds)))
    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    for name, points in lines.items():
        axes.loglog(*zip(*sorted(points), strict=True), marker="o", label=name)
        for count, seconds in points:
            axes.annotate(f"{seconds:.3g}", (count, seconds), (-4, 5), textcoords="offset points", ha="right")
    unit = statistics.median(found[0].seconds)
    axes.axhline(unit, color="grey", linewidth=1, linestyle="--")
    told = "1 u: CLIP image tower, one view"
    axes.annotate(told, (max(words), unit), (0, 4), textcoords="offset points", ha="right", color="grey")
    axes.set_xticks(words, [f"{count:,}" for count in words])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.margins(0.1)
    axes.set(xlabel=xlabel, ylabel="seconds per picture", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, runs=3)
    parser.add_argument("--words", type=int, nargs="+", default=[1, 20, 150, 847])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--keep-all", action="store_true", help="no view leaves words out, however few they are")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once; figures are of one")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 853], help="height and width of the picture")
    parser.add_argument("--config-file", default=str(ROOT / "configs/cat_seg/vitb_384.yaml"))
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="other settings")
    parser.add_argument("--plot", metavar="PNG", help="draw time against words")
    parser.add_argument("--official", metavar="FOLDER", help="where the authors' repositories lie")
    args = parser.parse_args()
    found = measure(rows(args), args)
    if args.plot:
        from cat_seg.d2 import sliding_window
        from ovss import hub

        window = sliding_window(hub.load(args.config_file, args.opts))
        views = len(window.corners) + window.whole
        seen = f"{views} views" if views > 1 else "1 view"
        title = f"CAT-Seg, {seen} of {window.window} px, labels of {args.size[0]} x {args.size[1]} px"
        xlabel = "words" + ("" if args.keep_all else TRUNCATED)
        plot(args.plot, title, xlabel, args.words, found)
    sys.exit(exit_code(found))


if __name__ == "__main__":
    main()
