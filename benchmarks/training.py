"""A step of CAT-Seg's training: what each way to save time or memory brings, on a GPU or the CPU.

    python benchmarks/training.py [--batch 4] [--classes 171] [--runs 3] [--rows bfloat16 compiled] [--opts KEY VALUE]

The step is the trainer's own (losses, optimizer, clipping) on random crops, words of COCO-Stuff and random weights; the
words are encoded in every step. The peak of memory is that of two steps, gradients and the optimizer's state included.
With --official the authors' code (`benchmarks/official.py`) runs in turn, in float32. Columns: `benchmarks/measure.py`.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Run as a file, this folder comes first on the path, and this file would hide what it is named after.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import torch

from benchmarks import official_cat_seg
from benchmarks.measure import add_options, exit_code, measure
from benchmarks.workers import Row, Work
from ovss.vocabulary import Vocabulary

PARTS = ("clip", "aggregator", "decoder")
BF16 = {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.DTYPE": "bfloat16"}
FLOAT32 = "float32"
ROWS: dict[str, dict[str, Any]] = {
    FLOAT32: {},
    "bfloat16": BF16,
    "float16": {**BF16, "SOLVER.AMP.DTYPE": "float16"},
    **{f"checkpointed: {part}": {"MODEL.CHECKPOINTING": (part,)} for part in PARTS},
    "checkpointed": {"MODEL.CHECKPOINTING": PARTS},
    "2 micro-batches": {"SOLVER.ACCUMULATE": 2},
    "compiled": {"MODEL.COMPILE": True},
    "bfloat16, checkpointed": {**BF16, "MODEL.CHECKPOINTING": PARTS},
    "bfloat16, checkpointed, compiled": {**BF16, "MODEL.CHECKPOINTING": PARTS, "MODEL.COMPILE": True},
}


def made_batch(size: tuple[int, int], count: int, classes: int) -> list[dict[str, Any]]:
    """Random crops (H,W), seeded, whose labels are squares of 16 px."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    squares = torch.randint(0, classes, (count, height // 16, width // 16), generator=generator)
    labels = squares.repeat_interleave(16, 1).repeat_interleave(16, 2)
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
    return [{"image": image, "sem_seg": label} for image, label in zip(images, labels, strict=True)]


def coco_words(classes: int) -> Vocabulary:
    words = Vocabulary.from_file(ROOT / "ovss/datasets/classes/coco_stuff.json")
    return Vocabulary(words.synonyms[:classes])


def make(settings: dict[str, Any], args: argparse.Namespace) -> Work:
    """A step of a model of its own under these settings."""
    import cat_seg.d2
    from ovss import hub
    from ovss.allocator import keep_freed_memory
    from ovss.clip.model import CLIP, architecture_config
    from ovss.d2.api import build_model
    from ovss.d2.training.precision import autocast_dtype
    from ovss.d2.training.solver import build_optimizer, clip_gradients
    from ovss.d2.training.step import Step

    keep_freed_memory()
    logging.disable(logging.WARNING)
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
    words = Vocabulary.parse(cfg.MODEL.VOCABULARY) if cfg.MODEL.VOCABULARY else coco_words(args.classes)
    batch = made_batch(cfg.INPUT.CROP.SIZE, args.batch, args.classes)
    step_of_batch: Callable[[], object] = partial(step, [crop | {"vocabulary": words} for crop in batch], 0.0)
    return Work(step_of_batch, (model, batch))


def official_step(args: argparse.Namespace) -> Work:
    words = [", ".join(synonyms) for synonyms in coco_words(args.classes).synonyms]
    return official_cat_seg.training_step(
        args.official, args.device, words, made_batch((384, 384), args.batch, args.classes)
    )


def rows(args: argparse.Namespace) -> list[Row]:
    found = []
    for name in args.rows:
        settings = ROWS[name]
        if "2 micro-batches" in name and args.batch % 2:
            continue
        dtype = settings.get("SOLVER.AMP.DTYPE", "float32")
        if dtype == "float16" and not args.device.startswith("cuda"):
            continue
        found.append(Row(name, partial(make, settings, args), dtype=dtype, autocast=False, warm_up=2))
    if args.official:
        found.append(Row("the authors' code, float32", partial(official_step, args), warm_up=2))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, runs=3)
    parser.add_argument("--config-file", default=str(ROOT / "configs/cat_seg/vitb_384.yaml"))
    parser.add_argument("--batch", type=int, help="crops; by default 4 (published) on a GPU, else 1")
    parser.add_argument("--classes", type=int, default=171)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="other settings of all rows")
    parser.add_argument("--official", metavar="FOLDER", help="where the authors' repositories lie")
    args = parser.parse_args()
    args.batch = args.batch or (4 if args.device.startswith("cuda") else 1)
    print(f"{args.classes} classes, batch {args.batch}; ", end="")
    sys.exit(exit_code(measure(rows(args), args)))


if __name__ == "__main__":
    main()
