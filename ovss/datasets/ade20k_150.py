"""ADE20K, 150 classes: 1 to 150 become 0 to 149, and 0, unlabelled, becomes 255. Imports numpy."""

from functools import cache
from pathlib import Path

import numpy as np

from ovss.class_file import read_class_file
from ovss.datasets.label_images import UNLABELLED, read_values, relabel, unknown_values
from ovss.datasets.plan import Plan
from ovss.datasets.source_files import plan_folder
from ovss.datasets.table import BY_NAME


def plan(root: Path, split: str) -> Plan:
    """Of ADEChallengeData2016/annotations/{training,validation}.

    Raises:
        ValueError: no label image is there.
    """
    return plan_folder(root, BY_NAME[f"ade20k_150_{split}"], convert, "ADEChallengeData2016.zip")


def convert(path: Path) -> list[np.ndarray]:
    """One label image.

    Raises:
        ValueError: a value above 150; the official script would make it a class that is not there.
    """
    values = read_values(path)
    unknown = unknown_values(values, table())
    if unknown:
        raise ValueError(f"{path}: value {unknown[0]}, expected 0 (unlabelled) to {max(table())}")
    return [relabel(values, table())]


@cache
def table() -> dict[int, int]:
    """What becomes of each value."""
    ids = read_class_file(BY_NAME["ade20k_150_val"].class_file).ids
    return {0: UNLABELLED, **{value: label for label, value in enumerate(ids)}}
