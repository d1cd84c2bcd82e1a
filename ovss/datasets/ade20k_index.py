"""The pictures of the full ADE20K, as its index names them: a stranger's file, whose names are kept below the root.

Standard library only.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovss.datasets.pickle_data import read_pickle_data
from ovss.datasets.preparations import missing

IMAGES = "ADE20K_2021_17_01/images"
INDEX = "ADE20K_2021_17_01/index_ade20k.pkl"
_FILE_NAME = re.compile(r"\w+\.jpg", re.ASCII)


def find_pictures(root: Path, split: str) -> list[Path]:
    """The pictures of a split, in the index's order. The second part of a name, ADE_val_..., says which it is of.

    Raises:
        ValueError: no index, one of another shape, or one that names a file outside the folder of pictures.
    """
    path = root / INDEX
    if not path.is_file():
        raise missing(path, "no such file; it comes in the full ADE20K_2021_17_01", "ade20k_full")
    index = read_pickle_data(path)
    folders, names = (_strings(index, key, path) for key in ("folder", "filename"))
    if len(folders) != len(names):
        raise ValueError(
            f"{path}: {len(folders)} folders and {len(names)} file names; there must be one for each picture"
        )
    found = [
        _below(root, folder, name, path)
        for folder, name in zip(folders, names, strict=True)
        if ("val" if name.split("_")[1:2] == ["val"] else "train") == split
    ]
    if not found or len({picture.name for picture in found}) < len(found):
        raise ValueError(f"{path}: {'two pictures of the same name' if found else 'no picture'} of {split}")
    return found


def _strings(index: Any, key: str, path: Path) -> Sequence[str]:
    values = index.get(key) if isinstance(index, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f'{path}: it has no list "{key}" of strings: not the index of ADE20K_2021_17_01')
    return values


def _below(root: Path, folder: str, name: str, index: Path) -> Path:
    """The path of a picture, which a hostile index could place anywhere: not outside the folder of all pictures."""
    images, picture = root / IMAGES, root / folder / name
    plain = _FILE_NAME.fullmatch(name) and "\0" not in folder
    if not plain or not picture.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"{index}: it names {f'{folder}/{name}'!r}, which is no picture in {images}")
    return picture
