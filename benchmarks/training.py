"""Time and memory of a step of CAT-Seg's training: what each way to save either brings, on a GPU or the CPU.

    python benchmarks/training.py [--batch 4] [--classes 171] [--runs 3] [--rows bfloat16 compiled] [--opts KEY VALUE]

The step is the trainer's own (losses, optimizer, clipping) on random crops, words of COCO-Stuff and random weights; the
unit is plain float32. Every row has a process of its own: its memory is what the first two steps add to the model at
the highest, gradients and the optimizer's state included (on a GPU what torch allocates, else what the process has
resident); then the unit is built beside it, and the two take turns, so that a drifting machine hits both alike. Prints
a Markdown table: median and range in seconds, the median of the ratios run by run, and memory in MiB.
"""

import argparse
import gc
import logging
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Run as a file, this folder comes first on the path, and this file would hide what it is named after.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import torch

import cat_seg.d2
from ovss import hub
from ovss.clip.model import CLIP, architecture_config
from ovss.d2.api import CfgNode, MetadataCatalog, build_model
from ovss.d2.training.precision import autocast_dtype
from ovss.d2.training.solver import build_optimizer, clip_gradients
from ovss.d2.training.step import Step
from ovss.d2.watch.memory import peak_memory
from ovss.vocabulary import Vocabulary

PARTS = ("clip", "aggregator", "decoder")
BF16 = {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.DTYPE": "bfloat16"}
UNIT = "float32"
ROWS: dict[str, dict[str, Any]] = {
    UNIT: {},
    "bfloat16": BF16,
    "float16": {**BF16, "SOLVER.AMP.DTYPE": "float16"},
    **{f"checkpointed: {part}": {"MODEL.CHECKPOINTING": (part,)} for part in PARTS},
    "checkpointed": {"MODEL.CHECKPOINTING": PARTS},
    "2 micro-batches": {"SOLVER.ACCUMULATE": 2},
    "compiled": {"MODEL.COMPILE": True},
    "bfloat16, checkpointed": {**BF16, "MODEL.CHECKPOINTING": PARTS},
    "bfloat16, checkpointed, compiled": {**BF16, "MODEL.CHECKPOINTING": PARTS, "MODEL.COMPILE": True},
}


def made_batch(cfg: CfgNode, count: int, classes: int) -> list[dict[str, Any]]:
    """Random crops, seeded, whose labels are squares of 16 px."""
    generator = torch.Generator().manual_seed(0)
    height, width = cfg.INPUT.CROP.SIZE
    words = Vocabulary(MetadataCatalog.get("coco_stuff_train").vocabulary.synonyms[:classes])
    if cfg.MODEL.VOCABULARY:
        words = Vocabulary.parse(cfg.MODEL.VOCABULARY)
    squares = torch.randint(0, classes, (count, height // 16, width // 16), generator=generator)
    labels = squares.repeat_interleave(16, 1).repeat_interleave(16, 2)
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
    pairs = zip(images, labels, strict=True)
    return [{"image": image, "sem_seg": label, "vocabulary": words} for image, label in pairs]


def made_step(settings: dict[str, Any], args: argparse.Namespace) -> Callable[[], object]:
    """A step of a model of its own under these settings, and the wait for the device."""
    more = [str(word) for pair in settings.items() for word in pair]
    cfg = hub.load(args.config_file, ["MODEL.DEVICE", args.device, *args.opts, *more])
    cat_seg.d2.load_clip = lambda name, weights: CLIP(architecture_config(name))  # type: ignore
    torch.manual_seed(0)
    model: Any = build_model(cfg).train()
    step = Step(
        model=model,
        optimizer=build_optimizer(cfg, model),
        loss_weight=model.loss_weight,
        clip=partial(clip_gradients, model, cfg.SOLVER.CLIP_GRADIENTS),
        autocast=autocast_dtype(cfg, model.device),
        accumulate=cfg.SOLVER.ACCUMULATE,
    )
    batch = made_batch(cfg, args.batch, args.classes)

    def run() -> None:
        step(batch, 0.0)
        if model.device.type == "cuda":
            torch.cuda.synchronize()

    return run


def measure(name: str, args: argparse.Namespace) -> tuple[float, list[float], list[float]]:
    """Memory in MiB, and seconds of the row and of the unit in turn."""
    logging.disable(logging.WARNING)
    row = made_step(ROWS[name], args)
    gc.collect()
    before = peak_memory(torch.device(args.device))
    for _ in range(2):
        row()
    memory = peak_memory(torch.device(args.device)) - before
    work = [row]
    if name != UNIT and args.runs:
        work.append(made_step(ROWS[UNIT], args))
        work[1]()
    times: list[list[float]] = [[] for _ in work]
    for _ in range(args.runs):
        for call, found in zip(work, times, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return memory, times[0], times[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=str(ROOT / "configs/cat_seg/vitb_384.yaml"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="crops; by default 4 (published) on a GPU, else 1")
    parser.add_argument("--classes", type=int, default=171)
    parser.add_argument("--runs", type=int, default=3, help="0: memory alone, without the unit beside each row")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="beside the unit")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="other settings of all rows")
    args = parser.parse_args()
    on_gpu = args.device.startswith("cuda")
    args.batch = args.batch or (4 if on_gpu else 1)
    left_out = {"float16"} - ({"float16"} if on_gpu else set()) | ({"2 micro-batches"} if args.batch % 2 else set())
    names = [name for name in ROWS if name == UNIT or (name in args.rows and name not in left_out)]
    device = torch.cuda.get_device_name(args.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{args.classes} classes, batch {args.batch}, torch {torch.__version__}, {device}\n")
    print("| work | median s | min to max | ratio to the unit | memory MiB | ratio to the unit |")
    print("|---|---:|---:|---:|---:|---:|")
    unit_memory = 0.0
    for name in names:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            memory, times, unit = pool.apply(measure, (name, args))
        unit_memory = unit_memory or memory
        spread = "- | - | -"
        if times:
            ratio = statistics.median(value / one for value, one in zip(times, unit, strict=True))
            spread = f"{statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} | {ratio:.2f}"
        print(f"| {name} | {spread} | {memory:.0f} | {memory / unit_memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
