"""PASCAL-Context 459: MATLAB label maps -> 16-bit label images, as CAT-Seg's prepare_pascal_context_459.py.

Reads VOC2010/trainval/ID.mat, writes annotations_detectron2/pc459_{val,train}. Imports numpy.
"""

import warnings
from functools import partial
from pathlib import Path

import numpy as np

from ovss.datasets.detail import FOLDER, read_pictures
from ovss.datasets.mat_file import read_uint16
from ovss.datasets.plan import Item, Plan
from ovss.datasets.preparations import missing
from ovss.datasets.source_files import folder_notes, read_names
from ovss.datasets.table import BY_NAME, SPLITS

MAPS = f"{FOLDER}/trainval"
CLASSES = 459


def plan(root: Path, split: str) -> Plan:
    """One label image for each picture of the split that `_names` lists.

    Raises:
        ValueError: no label maps, or no list of the split's pictures.
    """
    row = BY_NAME[f"pascal_context_459_{split}"]
    pictures, labels = (root / folder for folder in row.layouts[0])
    maps = root / MAPS
    if not maps.is_dir():
        raise missing(maps, "no label maps (.mat) there; they come in trainval.tar.gz", "pascal_context_459")
    names, notes = _names(root, split, maps)
    items = [
        Item(
            outputs=(labels / f"{name}.tif",),
            produce=partial(label, maps / f"{name}.mat"),
            picture=pictures / f"{name}.jpg" if pictures.is_dir() else None,
        )
        for name in names
    ]
    return Plan(items, row.pictures, (maps, pictures), [*notes, *folder_notes(pictures)])


def _names(root: Path, split: str, maps: Path) -> tuple[list[str], list[str]]:
    """The pictures of a split, and what the user should know of them.

    The official code lists train in the annotation file of the 59 classes and val in pascalcontext_val.txt. Where that
    is not there, val is what there is of the official list.
    """
    if split == "train":
        return [picture.name for picture in read_pictures(root, split)], []
    official = read_names(SPLITS / "pascal_context_val.txt")
    own = root / FOLDER / "pascalcontext_val.txt"
    if own.is_file():
        names = read_names(own)
        strangers = sorted(set(names) - set(official))
        if strangers:
            return names, [
                f"{own}: {len(strangers):,} pictures are not of the official val, the first is {strangers[0]}"
            ]
        return names, []
    names = [name for name in official if (maps / f"{name}.mat").is_file()]
    if not names:
        raise ValueError(f"{maps}: none of its label maps (.mat) is of val")
    notes = [f"{own} is not there; the official list of val pictures was used in its place"]
    if absent := sorted(set(official) - set(names)):
        notes.append(f"{maps}: {len(absent):,} label maps of that list are not there, the first is {absent[0]}.mat")
    return names, notes


def label(path: Path) -> tuple[np.ndarray]:
    """The label image (H,W) uint16 of a .mat file: its values minus 1, so 0 to 458.

    Value 0 becomes 65535, as by the official script's subtraction, which says nothing of it.

    Raises:
        ValueError: a file without a LabelMap of uint16 (H,W), or a value above 459.
    """
    values = read_uint16(path, "LabelMap")
    if values.max() > CLASSES:
        raise ValueError(f"{path}: label {values.max()}; expected 1 to {CLASSES}, and 0 where there is none")
    if not values.all():
        warnings.warn("label 0 is no class of PASCAL-Context; it became 65535, unlabelled", stacklevel=2)
    return (values - np.uint16(1),)
