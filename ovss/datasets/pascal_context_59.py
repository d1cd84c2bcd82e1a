"""PASCAL-Context 59: regions of trainval_merged.json -> label images, as CAT-Seg's prepare_pascal_context_59.py.

Reads VOC2010/trainval_merged.json, writes annotations_detectron2/pc59_{val,train}. Imports numpy.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ovss.class_file import read_class_file
from ovss.datasets.detail import FILE, Picture, read_pictures
from ovss.datasets.label_images import UNLABELLED
from ovss.datasets.plan import Item, Plan
from ovss.datasets.rle import paint, read_runs
from ovss.datasets.source_files import folder_notes, read_names
from ovss.datasets.table import BY_NAME, SPLITS


def plan(root: Path, split: str) -> Plan:
    """One label image for each picture that the annotation file has of the split.

    Raises:
        ValueError: the annotation file is missing, or is none.
    """
    row = BY_NAME[f"pascal_context_59_{split}"]
    folder, labels = (root / folder for folder in row.layouts[0])
    pictures = read_pictures(root, split)
    indices = {category: index for index, category in enumerate(read_class_file(row.class_file).ids)}
    items = [
        Item(
            outputs=(labels / f"{picture.name}.png",),
            produce=partial(label, picture, indices),
            picture=folder / f"{picture.name}.jpg" if folder.is_dir() else None,
        )
        for picture in pictures
    ]
    notes = [*_region_notes(pictures), *(_list_notes(pictures) if split == "val" else []), *folder_notes(folder)]
    return Plan(items, row.pictures, (root / FILE, folder), notes)


def _region_notes(pictures: Sequence[Picture]) -> Iterator[str]:
    """What the official script met with a KeyError, and what it changed without a word."""
    empty = [picture.name for picture in pictures if not picture.regions]
    if empty:
        yield f"{len(empty):,} pictures have no region and become unlabelled as a whole, the first is {empty[0]}.jpg"
    known = {0, *read_class_file(BY_NAME["pascal_context_459_val"].class_file).ids}
    unknown = [
        (category, picture.name) for picture in pictures for category, _ in picture.regions if category not in known
    ]
    if unknown:
        category, name = unknown[0]
        yield f"{len(unknown):,} regions of no known category become unlabelled, the first is {category} in {name}.jpg"


def _list_notes(pictures: Sequence[Picture]) -> Iterator[str]:
    """Where the file's phase "val" is not the official list of val pictures."""
    path = SPLITS / "pascal_context_val.txt"
    official, own = set(read_names(path)), {picture.name for picture in pictures}
    if strangers := sorted(own - official):
        yield f"{len(strangers):,} pictures of phase val are not in {path.name}, the first is {strangers[0]}"
    if missing := sorted(official - own):
        yield f"{len(missing):,} pictures of {path.name} are not of phase val, the first is {missing[0]}"


def label(picture: Picture, indices: Mapping[int, int]) -> tuple[np.ndarray]:
    """The label image (H,W) uint8 of a picture: regions painted in order, later ones over earlier.

    Args:
        indices: category id -> class index; any other category paints `UNLABELLED`, and so does what no region covers.
    """
    size = picture.height, picture.width
    canvas = np.full(size[::-1], UNLABELLED, np.uint8)
    for number, (category, segmentation) in enumerate(picture.regions, 1):
        try:
            runs = read_runs(segmentation, size)
        except ValueError as error:
            raise ValueError(f"{FILE}: {picture.name}.jpg, region {number} of category {category}: {error}") from error
        paint(canvas, runs, indices.get(category, UNLABELLED))
    return (np.ascontiguousarray(canvas.T),)
