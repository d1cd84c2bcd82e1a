"""Is a benchmark ready: what is there before and after preparation, and is a pair of files sound?

Imports numpy and Pillow (`ovss.images`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ovss.class_file import read_class_file
from ovss.datasets import ade20k_index, detail, pascal_context_459, voc
from ovss.datasets.pairs import pair_by_stem, relabelled, size_mismatch
from ovss.datasets.source_files import listed
from ovss.datasets.table import Benchmark
from ovss.images import read_image, read_label_image
from ovss.vocabulary import Vocabulary

# What labels are made from, where it is not a folder beside theirs. The plans of preparation know it too, but read it
# whole: up to a gigabyte.
_LABEL_SOURCES = {
    "ade20k_full": (ade20k_index.INDEX,),
    "pascal_context_59": (detail.FILE,),
    "pascal_context_459": (pascal_context_459.MAPS,),
    "voc": tuple(f"{folder}/{voc.MASKS}" for folder in voc.FOLDERS),
}
_PICTURE_SOURCES = {"ade20k_full": (f"{ade20k_index.IMAGES}/ADE",)}


@dataclass(frozen=True)
class State:
    """What there is of one benchmark.

    Attributes:
        missing: what preparation reads and is not there, below the root.
        labels: the folder of label images that is used; None: the set is not prepared.
        count: of label images.
        pairs: pictures with label images, empty where some have no partner.
        problem: why not, naming the first file; else empty.
    """

    row: Benchmark
    missing: tuple[str, ...] = ()
    labels: Path | None = None
    count: int = 0
    pairs: tuple[Mapping[str, str], ...] = ()
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Whether every official picture has its partner."""
        return len(self.pairs) == self.row.pictures


def look(row: Benchmark, root: Path) -> State:
    """Look for the files of one benchmark, without opening any."""
    missing = tuple(places[0] for places in _sources(row) if not any(_has_content(root / place) for place in places))
    folders = row.folders(root)
    count = len(listed(folders[1], row.label_suffix)) if folders else 0
    if folders is None or not count:
        return State(row, missing)
    try:
        pairs = pair_by_stem(*folders, (row.label_suffix,), row.shared_pictures)
    except ValueError as error:
        return State(row, missing, folders[1], count, problem=str(error))
    return State(row, missing, folders[1], count, tuple(pairs))


def _sources(row: Benchmark) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pictures and labels before preparation: of each, the places of which one must have them."""
    beside = tuple(labels.replace("_detectron2", "") for _, labels in row.layouts)
    pictures = tuple(pictures for pictures, _ in row.layouts)
    return _PICTURE_SOURCES.get(row.preparation, pictures), _LABEL_SOURCES.get(row.preparation, beside)


def _has_content(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and next(path.iterdir(), None) is not None)


@cache
def class_names(row: Benchmark) -> tuple[str, ...]:
    """Names of the classes that the labels of a benchmark count, "background" last where it has background words."""
    content = read_class_file(row.class_file)
    return Vocabulary(content.synonyms, content.background).classes


def read_pair(row: Benchmark, pair: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """The picture (H,W,3) uint8 and the labels (H,W) int64 as evaluation reads them: classes, or `row.ignore_label`.

    Raises:
        ValueError: unreadable, of another bit depth than preparation writes, a value that is no class, or two sizes.
    """
    image, values = read_image(pair["file_name"]), read_label_image(pair["sem_seg_file_name"])
    expected = np.dtype(np.uint16 if row.label_suffix == ".tif" else np.uint8)
    if values.dtype != expected:
        raise ValueError(f"{pair['sem_seg_file_name']}: values of type {values.dtype}, expected {expected}")
    labels = relabelled(values.astype(np.int64), row.label_map)
    if labels.shape != image.shape[:2]:
        raise size_mismatch(pair, labels.shape, image.shape)
    last = len(class_names(row)) - 1
    present = np.unique(labels)
    strangers = present[(present > last) & (present != row.ignore_label)]
    if strangers.size:
        raise ValueError(
            f"{pair['sem_seg_file_name']}: {strangers.size} values are no class, the first is {strangers[0]}; expected "
            f"0 to {last}, or {row.ignore_label} for no label"
        )
    return image, labels


def mistake(row: Benchmark, pair: Mapping[str, str]) -> str:
    """What is wrong with a pair of files, naming the file; empty where nothing is."""
    try:
        read_pair(row, pair)
    except ValueError as error:
        return str(error)
    return ""
