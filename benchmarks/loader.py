"""Crops per second of the training loader, where the time goes, and the memory of its loading processes.

    python benchmarks/loader.py [--crops 240] [--runs 5] [--workers 0 1 2] [--official FILE]

Photos as heavy as COCO's (640 x 480) and labels of 171 classes are drawn into a temporary folder; crops are those of
the published recipe, four a step. With --official, and Detectron2 installed, the mapper of CAT-Seg's authors (their
mask_former_semantic_dataset_mapper.py) runs in Detectron2's own loader in turn, once its crops are found to be the same
for the same draws. Prints Markdown tables: medians, and the median of ratios run by run.
"""

import argparse
import importlib.util
import itertools
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# Run as a file, this folder comes first on the path, and this file would hide what it is named after.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import torch
from PIL import Image

from benchmarks.preparation import draw_pair
from benchmarks.records import memory_table
from ovss import hub
from ovss.d2 import catalog
from ovss.d2.api import ENGINE, CfgNode
from ovss.d2.training.labels import CropInput
from ovss.d2.training.loader import build_train_loader
from ovss.d2.training.mapper import TrainMapper
from ovss.images import read_image
from ovss.vocabulary import Vocabulary

NAME, CLASSES, PICTURES, BATCH = "benchmark_loader", 171, 64, 4
CONFIG = Path(__file__).resolve().parent.parent / "configs/cat_seg/vitb_384.yaml"
Record = dict[str, str]
Mapper = Callable[[Any], dict]


def draw(folder: Path, count: int) -> list[Record]:
    """Write pictures and labels, and enter them as a data set."""
    generator = np.random.default_rng(0)
    records = []
    for index in range(count):
        labels, photo = draw_pair(generator, [*range(CLASSES), 255])
        record = {"file_name": str(folder / f"{index}.jpg"), "sem_seg_file_name": str(folder / f"{index}.png")}
        Image.fromarray(photo).save(record["file_name"])
        Image.fromarray(labels).save(record["sem_seg_file_name"])
        records.append(record)
    words = Vocabulary.from_words([f"class {index}" for index in range(CLASSES)])
    catalog.register(NAME, lambda: records, words, 255)
    return records


def settings(workers: int, steps: int) -> CfgNode:
    """The published recipe on what `draw` has entered, without a GPU."""
    values = {
        "DATASETS.TRAIN": (NAME,),
        "MODEL.DEVICE": "cpu",
        "DATALOADER.NUM_WORKERS": workers,
        "SOLVER.MAX_ITER": steps,
        "SOLVER.IMS_PER_BATCH": BATCH,
        "SEED": 1,
    }
    return hub.load(str(CONFIG), [str(word) for pair in values.items() for word in pair])


def official_mapper(path: str, cfg: CfgNode) -> Mapper:
    """The authors' mapper with the augmentations that their config asks for; those are Detectron2's."""
    from detectron2.data import transforms as T
    from detectron2.projects.point_rend import ColorAugSSDTransform

    spec = importlib.util.spec_from_file_location("official_mapper", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    node = cfg.INPUT
    augmentations = [
        T.ResizeShortestEdge(node.MIN_SIZE_TRAIN, node.MAX_SIZE_TRAIN, "choice"),
        T.RandomCrop_CategoryAreaConstraint(node.CROP.TYPE, node.CROP.SIZE, 1.0, 255),
        ColorAugSSDTransform("RGB"),
        T.RandomFlip(),
    ]
    return module.MaskFormerSemanticDatasetMapper(
        augmentations=augmentations, image_format="RGB", ignore_label=255, size_divisibility=node.SIZE_DIVISIBILITY
    )


def check_equal(ours: Mapper, theirs: Mapper, records: Sequence[Record]) -> None:
    """Raise AssertionError where both make different crops of the same draws."""
    for seed, record in enumerate(records):
        crops = []
        for mapper in (ours, theirs):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 (the generator that augmentations draw from)
            crops.append(mapper(record))
        assert all(torch.equal(crops[0][key], crops[1][key]) for key in ("image", "sem_seg"))


def our_loader(workers: int, steps: int) -> Iterator:
    return iter(build_train_loader(settings(workers, steps)))


def their_loader(workers: int, mapper: Mapper, records: Sequence[Record]) -> Iterator:
    from detectron2.data import build_detection_train_loader

    sizes = {"total_batch_size": BATCH, "aspect_ratio_grouping": False, "num_workers": workers}
    return iter(build_detection_train_loader(list(records), mapper=mapper, **sizes))


def loaders(workers: Sequence[int], steps: int, theirs: Mapper | None, records: Sequence[Record]) -> dict:
    """What is timed, by name and loading processes: functions that start a loader."""
    work: dict[tuple[str, int], Callable[[], Iterator]] = {}
    for count in workers:
        work["this project", count] = partial(our_loader, count, steps)
        if theirs:
            work["CAT-Seg's mapper in Detectron2's loader", count] = partial(their_loader, count, theirs, records)
    return work


def crops_per_second(start: Callable[[], Iterator], steps: int) -> float:
    """Of steps that follow the first, which waits for the loading processes to start."""
    batches = start()
    next(batches)
    begin = time.perf_counter()
    count = sum(len(batch) for batch in itertools.islice(batches, steps))
    return count / (time.perf_counter() - begin)


def stages(mapper: TrainMapper, records: Sequence[Record]) -> dict[str, float]:
    """Median milliseconds of each part of a crop's way, in this process."""
    times: dict[str, list[float]] = {}
    for record in records:
        marks = [("", time.perf_counter())]
        crop = CropInput(read_image(record["file_name"]), sem_seg=np.empty(0))
        marks.append(("decode the picture", time.perf_counter()))
        crop.sem_seg = mapper.read_classes(record["sem_seg_file_name"])
        marks.append(("decode and check the labels", time.perf_counter()))
        for augmentation in mapper.augmentation.augs:
            augmentation(crop)
            marks.append((type(augmentation).__name__, time.perf_counter()))
        for (_, before), (name, after) in itertools.pairwise(marks):
            times.setdefault(name, []).append(1000 * (after - before))
        mapper(record)
        times.setdefault("all, with padding and tensors", []).append(1000 * (time.perf_counter() - marks[-1][1]))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=240)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--official", metavar="FILE", help="the mapper of CAT-Seg's authors")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    steps = args.crops // BATCH
    with tempfile.TemporaryDirectory() as folder:
        records = draw(Path(folder), PICTURES)
        cfg = settings(0, 1 + steps)
        ours = TrainMapper.from_config(cfg)
        theirs = official_mapper(args.official, cfg) if args.official else None
        if theirs:
            check_equal(ours, theirs, records)
        work = loaders(args.workers, 1 + steps, theirs, records)
        speeds: dict[tuple[str, int], list[float]] = {key: [] for key in work}
        for _ in range(args.runs):  # in turn, so that a drifting machine hits all alike
            for key, start in work.items():
                speeds[key].append(crops_per_second(start, steps))
        print(f"{args.crops} crops a run, {args.runs} runs, engine {ENGINE}, torch {torch.__version__}\n")
        print("| loading processes | work | crops per second, median | min to max | ratio to this project |")
        print("|---:|---|---:|---:|---:|")
        for (name, count), values in speeds.items():
            ratio = statistics.median(a / b for a, b in zip(values, speeds["this project", count], strict=True))
            middle = statistics.median(values)
            print(f"| {count} | {name} | {middle:.0f} | {min(values):.0f} to {max(values):.0f} | {ratio:.2f} |")
        print("\n| part of a crop | median ms |\n|---|---:|")
        for part, milliseconds in stages(ours, records).items():
            print(f"| {part} | {milliseconds:.2f} |")
    memory_table()


if __name__ == "__main__":
    main()
