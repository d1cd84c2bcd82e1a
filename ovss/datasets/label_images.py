"""Label images of 8 bits, and what their values become. Imports numpy and Pillow (ovss/images.py).

A table holds what each known value becomes, {value: new value}; all others become 255, unlabelled.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ovss.images import read_label_image

UNLABELLED = 255


def read_values(path: Path) -> np.ndarray:
    """The values of a palette or grey image, (H,W) uint8.

    Raises:
        ValueError: unreadable, several channels, or not 8 bits a pixel; the message names the file.
    """
    values = read_label_image(path)
    if values.dtype != np.uint8:
        raise ValueError(f"{path}: a label image of {values.dtype}, expected 8 bits a pixel (uint8)")
    return values


def unknown_values(values: np.ndarray, table: Mapping[int, int]) -> list[int]:
    """The values of a uint8 image that a table does not know, rising."""
    present = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return sorted(set(present.tolist()) - set(table))


def relabel(values: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """What the values of a uint8 image become, uint8 of the same shape."""
    new = np.full(256, UNLABELLED, np.uint8)
    new[list(table)] = list(table.values())
    return new[values]


def warn_of_unknown(values: np.ndarray, table: Mapping[int, int]) -> None:
    """Warn where an official script silently takes unknown values for unlabelled."""
    if unknown_values(values, table):
        warnings.warn(f"some values are no class of the set; they became {UNLABELLED}, unlabelled", stacklevel=2)
