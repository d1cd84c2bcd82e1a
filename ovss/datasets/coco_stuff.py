"""COCO-Stuff 164k: the 171 values of stuffthingmaps in rising order become 0 to 170, all others 255.

The values are COCO's category ids minus 1, of which 11 never occur (street sign, hat, ...). Imports numpy.
"""

from functools import cache
from pathlib import Path

import numpy as np

from ovss.class_file import read_class_file
from ovss.datasets.label_images import UNLABELLED, read_values, relabel, warn_of_unknown
from ovss.datasets.plan import Plan
from ovss.datasets.source_files import plan_folder
from ovss.datasets.table import BY_NAME


def plan(root: Path, split: str) -> Plan:
    """Of coco-stuff/annotations/{train,val}2017, or coco/stuffthingmaps/{train,val}2017.

    Raises:
        ValueError: no label image is there.
    """
    return plan_folder(root, BY_NAME[f"coco_stuff_{split}"], convert, "stuffthingmaps_trainval2017.zip")


def convert(path: Path) -> list[np.ndarray]:
    """One label image; a value that is no class becomes 255, as in the official script, with a warning."""
    values = read_values(path)
    warn_of_unknown(values, table())
    return [relabel(values, table())]


@cache
def table() -> dict[int, int]:
    """What becomes of each value."""
    ids = read_class_file(BY_NAME["coco_stuff_val"].class_file).ids
    return {**{value: label for label, value in enumerate(ids)}, UNLABELLED: UNLABELLED}
