"""PASCAL-Context's annotation file, trainval_merged.json (Detail), checked before anything is made of it.

It names the pictures of both phases and holds every labelled region as run lengths. Standard library only.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovss.datasets.preparations import missing

FOLDER = "VOCdevkit/VOC2010"
FILE = f"{FOLDER}/trainval_merged.json"
MAX_BYTES = 2 << 30  # it is read as a whole
MAX_SIDE = 10_000  # pixels; the pictures have up to 500
_FILE_NAME = re.compile(r"(\w+)\.jpg", re.ASCII)


@dataclass(frozen=True)
class Picture:
    """A picture of one phase and its regions, in the file's order: later ones lie on top.

    Attributes:
        name: of its file, without .jpg.
        height, width: in pixels.
        regions: (category id, run lengths in COCO's form, not yet checked).
    """

    name: str
    height: int
    width: int
    regions: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)


def read_pictures(root: Path, phase: str) -> list[Picture]:
    """The pictures of a phase ("train" or "val"), in the file's order.

    Raises:
        ValueError: the file is missing, too large, or has another shape; the message names it.
    """
    path = root / FILE
    data = _read(path)
    try:
        pictures = {entry["image_id"]: _picture(entry) for entry in _entries(data, "images") if entry["phase"] == phase}
        names = Counter(picture.name for picture in pictures.values())
        if repeated := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"two pictures named {repeated[0]}.jpg")
        for entry in _entries(data, "annos_segmentation"):
            if picture := pictures.get(entry["image_id"]):
                picture.regions.append(_region(entry))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"an entry without {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: not PASCAL-Context's annotation file: {reason}") from error
    if not pictures:
        raise ValueError(f"{path}: no picture of phase {phase!r}")
    return list(pictures.values())


def _read(path: Path) -> Any:
    if not path.is_file():
        raise missing(path, "no such file; it is PASCAL-Context's annotation file", "pascal_context_59")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, more than the limit of {MAX_BYTES}")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged JSON: {error}") from error


def _entries(data: Any, key: str) -> Sequence[Mapping[str, Any]]:
    entries = data.get(key) if isinstance(data, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f'it has no list "{key}" of objects')
    return entries


def _picture(entry: Mapping[str, Any]) -> Picture:
    file_name, height, width = entry["file_name"], entry["height"], entry["width"]
    match = _FILE_NAME.fullmatch(file_name)
    if match is None:
        raise ValueError(f"{file_name!r} cannot be the name of a picture; expected one such as 2008_000002.jpg")
    if not all(type(side) is int and 0 < side <= MAX_SIDE for side in (height, width)):
        raise ValueError(f"{file_name} has height {height!r} and width {width!r}, expected 1 to {MAX_SIDE} pixels")
    return Picture(match[1], height, width)


def _region(entry: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    category, segmentation = entry["category_id"], entry["segmentation"]
    if type(category) is not int or not isinstance(segmentation, dict):
        raise ValueError(f"a region of category {category!r} whose segmentation is a {type(segmentation).__name__}")
    return category, segmentation
