"""PASCAL VOC 2012 with the labels of SBD (SegmentationClassAug): 1 to 20 become 0 to 19. Imports numpy.

Background, 0, becomes 255 (not scored) in annotations_detectron2, and a 21st class, 20, in annotations_detectron2_bg.
"""

from functools import cache, partial
from pathlib import Path

import numpy as np

from ovss.class_file import read_class_file
from ovss.datasets.label_images import UNLABELLED, read_values, relabel, warn_of_unknown
from ovss.datasets.plan import Item, Plan
from ovss.datasets.preparations import missing
from ovss.datasets.source_files import folder_notes, listed, read_names
from ovss.datasets.table import BY_NAME, SPLITS

FOLDERS = ("VOCdevkit/VOC2012", "VOC2012")  # CAT-Seg's layout, CLIPtrase's
MASKS = "SegmentationClassAug"
OUTPUTS = {  # what background becomes in each
    "train": {"annotations_detectron2/train": UNLABELLED},
    "val": {"annotations_detectron2/val": UNLABELLED, "annotations_detectron2_bg/val": 20},
}


def plan(root: Path, split: str) -> Plan:
    """Of the masks in SegmentationClassAug: val those of VOC's own list, train all that are not VOC's val.

    Raises:
        ValueError: no mask is there, or the list cannot be read.
    """
    folders = [root / folder for folder in FOLDERS]
    folder = next((folder for folder in folders if (folder / MASKS).is_dir()), folders[0])
    masks, pictures = folder / MASKS, folder / "JPEGImages"
    present = [path.stem for path in listed(masks, ".png")]
    if not present:
        raise missing(masks, "no label images (.png) there; they come in SegmentationClassAug.zip", "voc")
    names, notes = _names(folder, split, present)
    outputs = OUTPUTS[split]
    items = [
        Item(
            outputs=tuple(folder / output / f"{name}.png" for output in outputs),
            produce=partial(convert, masks / f"{name}.png", tuple(outputs.values())),
            picture=pictures / f"{name}.jpg" if pictures.is_dir() else None,
        )
        for name in names
    ]
    expected = BY_NAME[f"voc_20_{split}"].pictures
    return Plan(items, expected, (masks, pictures), [*notes, *folder_notes(pictures)])


def _names(folder: Path, split: str, present: list[str]) -> tuple[list[str], list[str]]:
    """The pictures of a split, and what the user should know of them."""
    official = read_names(SPLITS / "voc_2012_val.txt")
    own = folder / "ImageSets/Segmentation/val.txt"
    notes = []
    if split == "train":
        names = sorted(set(present) - set(official))
    elif own.is_file():
        names = read_names(own)
        strangers = sorted(set(names) - set(official))
        if strangers:
            notes = [f"{own}: {len(strangers):,} pictures are not of the official val, the first is {strangers[0]}"]
    else:
        names = sorted(set(present) & set(official))
        notes = [f"{own} is not there; the official list of val pictures was used in its place"]
    if not names:
        raise ValueError(f"{folder / MASKS}: none of its {len(present):,} label images is of {split}")
    return names, notes


def convert(path: Path, backgrounds: tuple[int, ...]) -> list[np.ndarray | None]:
    """One mask, once for each label that background may become.

    A value that is no class becomes 255 with a warning, and an output without any label is left out: both as in the
    official script.
    """
    values = read_values(path)
    warn_of_unknown(values, table(UNLABELLED))
    outputs = [relabel(values, table(background)) for background in backgrounds]
    return [labels if (labels != UNLABELLED).any() else None for labels in outputs]


@cache
def table(background: int) -> dict[int, int]:
    """What becomes of each value."""
    ids = read_class_file(BY_NAME["voc_20_val"].class_file).ids
    return {**{value: label for label, value in enumerate(ids)}, 0: background, UNLABELLED: UNLABELLED}
