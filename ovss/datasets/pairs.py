"""Pairs of a picture and its label image: found in two folders, and how labels are read. numpy and ovss.images only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ovss.images import ImageError, find_images, read_label_image

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


def pair_by_stem(
    images: Path, labels: Path, label_suffixes: Sequence[str] = LABEL_SUFFIXES, shared: bool = False
) -> list[dict[str, str]]:
    """Records of pictures and label images, paired by file name without suffix and sorted by it.

    Args:
        shared: the folder of pictures holds those of other sets too: pictures without labels are left out.

    Raises:
        ValueError: a folder is missing or empty, or a file has no partner.
    """
    pictures = _by_stem(images, find_images([images]) if images.is_dir() else [])
    files = [file for file in sorted(labels.iterdir()) if file.name[0] != "."] if labels.is_dir() else []
    label_files = _by_stem(labels, [file for file in files if file.suffix.lower() in label_suffixes])
    found = [(images, pictures), (labels, label_files)]
    for (here, mine), (there, theirs) in (found[::-1],) if shared else (found, found[::-1]):
        lonely = sorted(set(mine) - set(theirs))
        if lonely:
            raise ValueError(
                f"{len(lonely)} of {len(mine)} files in {here} have no partner in {there}, "
                f"the first is {mine[lonely[0]].name}"
            )
    return [
        {"file_name": str(pictures[stem]), "sem_seg_file_name": str(label_files[stem])} for stem in sorted(label_files)
    ]


def _by_stem(folder: Path, files: list[Path]) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    if not files:
        raise ValueError(f"{folder}: no pictures in this folder")
    by_stem: dict[str, Path] = {}
    for file in files:
        if file.stem in by_stem:
            raise ValueError(f"{folder}: {by_stem[file.stem].name} and {file.name} have the same name without suffix")
        by_stem[file.stem] = file
    return by_stem


def read_labels(path: str, label_map: Sequence[tuple[int, int]] = ()) -> np.ndarray:
    """A label image as int64 (H,W): the value of a pixel is its class, in palette, 8-bit and 16-bit files alike.

    Args:
        label_map: (value, new value) pairs, all applied at once.

    Raises:
        ValueError: unreadable, or an image with colour channels.
    """
    return relabelled(read_stored_labels(path).astype(np.int64), label_map)


def read_stored_labels(path: str) -> np.ndarray:
    """`read_label_image`, whose errors say that it is a label image."""
    try:
        return read_label_image(path)
    except ImageError as error:
        raise ImageError(f"label image {error}") from error


def relabelled(labels: np.ndarray, label_map: Sequence[tuple[int, int]]) -> np.ndarray:
    """Labels (H,W) int64 with the values of a `Benchmark.label_map` changed."""
    if not label_map:
        return labels
    values, new = np.array(sorted(label_map)).T
    place = np.minimum(np.searchsorted(values, labels), len(values) - 1)
    return np.where(values[place] == labels, new[place], labels)


def size_mismatch(record: Mapping[str, Any], labels: tuple[int, ...], image: tuple[int, ...]) -> ImageError:
    return ImageError(
        f"label image {record['sem_seg_file_name']} is {labels[1]} x {labels[0]} px, its picture {record['file_name']} "
        f"{image[1]} x {image[0]} px: they must be equal"
    )
