"""What lies in the folders of a set before preparation: label images, pictures, lists of names."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ovss.datasets.plan import Item, Plan
from ovss.datasets.preparations import missing
from ovss.datasets.table import Benchmark


def listed(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder that have this suffix, sorted, without hidden ones; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == suffix and not path.name.startswith("."))


def read_names(path: Path) -> list[str]:
    """The names of a list of pictures, one a line, each once.

    Raises:
        ValueError: unreadable, empty, or a line that cannot be the name of a file without suffix.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # editors put a mark first
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise ValueError(f"{path}: an empty list, expected the name of a picture on each line")
    for name in names:
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise ValueError(f"{path}: {name!r} is no name of a picture; expected one a line, such as 2007_000033")
    return names


def folder_notes(pictures: Path) -> list[str]:
    """One line where the folder of a set's pictures is not there: labels may be prepared before the photos come."""
    return [] if pictures.is_dir() else [f"{pictures}: no such folder; label images were compared with no picture"]


def plan_folder(root: Path, row: Benchmark, convert: Callable[[Path], Sequence[np.ndarray]], archive: str) -> Plan:
    """One item for each .png of a set's own folder of label images.

    It lies beside the prepared folder and has its name without "_detectron2"; of the layouts of `row` the first counts
    that has it. `convert` makes the output from the path of a label image; `archive` says what they come in.

    Raises:
        ValueError: no label image.
    """
    layouts = [(images, labels, labels.replace("_detectron2", "")) for images, labels in row.layouts]
    folders = [[root / folder for folder in layout] for layout in layouts]
    pictures, outputs, sources = next((three for three in folders if three[2].is_dir()), folders[0])
    labels = listed(sources, ".png")
    if not labels:
        raise missing(sources, f"no label images (.png) there; they come in {archive}", row.preparation)
    lonely = sorted({path.stem for path in listed(pictures, ".jpg")} - {path.stem for path in labels})
    problems = [
        f"{pictures}: {len(lonely):,} without a label image in {sources}, the first is {name}.jpg"
        for name in lonely[:1]
    ]
    items = [
        Item(
            outputs=(outputs / label.name,),
            produce=partial(convert, label),
            picture=pictures / f"{label.stem}.jpg" if pictures.is_dir() else None,
        )
        for label in labels
    ]
    return Plan(items, row.pictures, (sources, pictures), folder_notes(pictures), problems)
