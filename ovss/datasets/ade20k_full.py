"""ADE20K with 847 classes: RGB annotations -> 16-bit labels and resized pictures, as CAT-Seg's prepare_ade20k_full.py.

Reads ADE20K_2021_17_01/index_ade20k.pkl for the names of the files, writes images_detectron2 and
annotations_detectron2. Imports numpy, Pillow and OpenCV, whose resizing is part of the published benchmark.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ovss.class_file import read_class_file
from ovss.datasets.ade20k_index import IMAGES, INDEX, find_pictures
from ovss.datasets.plan import Item, Plan
from ovss.datasets.table import BY_NAME
from ovss.images import check_size

SHORT_SIDE = 512  # pixels, of pictures whose shorter side is longer
INDICES = 25 * 256 + 256  # of the class index: red / 10, truncated, is its high byte
UNLABELLED = 65535


def plan(root: Path, split: str) -> Plan:
    """One label image and one picture for each picture of the split that the index names.

    Raises:
        ValueError: the index is missing, or is none.
    """
    row = BY_NAME[f"ade20k_847_{split}"]
    pictures, labels = (root / folder for folder in row.layouts[0])
    ids = read_class_file(row.class_file).ids
    items = [
        Item((labels / f"{picture.stem}.tif", pictures / picture.name), partial(convert, picture, ids))
        for picture in find_pictures(root, split)
    ]
    return Plan(items, row.pictures, sources=(root / INDEX, root / IMAGES))


def convert(picture: Path, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The label (H,W) uint16 and the picture (H,W,3) or grey (H,W) uint8, from NAME.jpg and NAME_seg.png beside it.

    Args:
        ids: the class index of each class; the others become `UNLABELLED`.

    Raises:
        ValueError: a file that is missing or damaged, of another mode, or two of different sizes.
    """
    annotation = picture.with_name(f"{picture.stem}_seg.png")
    image, colors = _decode(picture, "JPEG", ("RGB", "L")), _decode(annotation, "PNG", ("RGB", "RGBA"))
    height, width = image.shape[:2]
    if colors.shape[:2] != (height, width):
        raise ValueError(
            f"{annotation} is {colors.shape[1]} x {colors.shape[0]} px, its picture {picture} {width} x {height} px: "
            "they must be equal"
        )
    table = np.full(INDICES, UNLABELLED, np.uint16)
    table[list(ids)] = np.arange(len(ids), dtype=np.uint16)
    indices = class_index(colors)
    size = resized(height, width)
    if size != (height, width):
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        indices = cv2.resize(indices, size[::-1], interpolation=cv2.INTER_NEAREST)
    return table[indices], image


def class_index(colors: np.ndarray) -> np.ndarray:
    """(H,W) uint16 place of each pixel's class in the index's names, from 1; 0 where nothing is annotated.

    Args:
        colors: (H,W,3) uint8: red in tens is the high byte, green the low one; blue tells instances apart.
    """
    return colors[:, :, 0] // 10 * np.uint16(256) + colors[:, :, 1]


def resized(height: int, width: int) -> tuple[int, int]:
    """(height, width) with the shorter side at most `SHORT_SIDE`; the longer keeps the ratio, halves to even."""
    if min(height, width) <= SHORT_SIDE:
        return height, width
    if width >= height:
        return SHORT_SIDE, round(width / height * SHORT_SIDE)
    return round(height / width * SHORT_SIDE), SHORT_SIDE


def _decode(path: Path, format: str, modes: Sequence[str]) -> np.ndarray:
    """(H,W,3) uint8 RGB, or (H,W) of a grey picture, the way up that it is stored: the label knows no orientation."""
    try:
        with Image.open(path, formats=[format]) as image:
            check_size(image)
            if image.mode not in modes:
                raise ValueError(f"its mode is {image.mode}, expected {' or '.join(modes)}")
            return np.array(image.convert("RGB") if image.mode == "RGBA" else image)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except Exception as error:  # decoders of broken files raise nearly anything
        raise ValueError(f"{path}: {error or type(error).__name__}") from error
