"""What the catalog says of every benchmark: a loop over `ovss.datasets.table`. Files are looked for when a set is used.

No set asks for another evaluator: CAT-Seg's evaluator for VOC-20b merges what its model answers, here the vocabulary's
background words do.
"""

import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovss.class_file import ClassFile, read_class_file
from ovss.datasets.pairs import pair_by_stem
from ovss.datasets.table import BENCHMARKS, Benchmark, root
from ovss.palette import palette
from ovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)
BACKGROUND_COLOR = (0, 0, 0)  # as in VOC's colour map


def entries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every name of every benchmark, with what `ovss.d2.catalog.register` enters of it.

    An official name has the words of that system's variant of the class file.
    """
    read = functools.cache(read_class_file)
    for row in BENCHMARKS:
        for system, names in {"": (row.name,), **row.names}.items():
            content = read(row.class_file, system)
            for name in names:
                yield name, _entry(row, name, content)


def _entry(row: Benchmark, name: str, content: ClassFile) -> dict[str, Any]:
    own = palette(len(content.colors)).tolist()
    colors = [list(color or spare) for color, spare in zip(content.colors, own, strict=True)]
    entry = {
        "records": functools.partial(records, row, name),
        "vocabulary": Vocabulary(content.synonyms, content.background),
        "ignore_label": row.ignore_label,
        "label_map": row.label_map,
        "stuff_colors": colors + ([list(BACKGROUND_COLOR)] if content.background else []),
    }
    if row.category_offset is not None:
        categories = {value + row.category_offset: index for index, value in enumerate(content.ids)}
        entry["stuff_dataset_id_to_contiguous_id"] = categories
    return entry


def records(row: Benchmark, name: str) -> list[dict[str, str]]:
    """List the pictures with their label images, below the root of this moment; the log says where some are missing.

    Raises:
        ValueError: folders are missing or empty, or a file has no partner; with the command that prepares the set.
    """
    folder = root()
    found = row.folders(folder)
    if found is None:
        raise ValueError(_missing(row, name, folder))
    try:
        pairs = pair_by_stem(*found, (row.label_suffix,), row.shared_pictures)
    except ValueError as error:
        raise ValueError(f"data set {name!r}: {error}; to prepare it: {row.prepare_command}") from error
    if len(pairs) != row.pictures:
        logger.warning(
            f"{name}: {len(pairs):,} of {row.pictures:,} pictures: results are not those of the whole benchmark"
        )
    return pairs


def _missing(row: Benchmark, name: str, folder: Path) -> str:
    places = ", or ".join(f"{images} with {labels}" for images, labels in row.layouts)
    return (
        f"data set {name!r} is not below {folder.absolute()} ($DETECTRON2_DATASETS), where it would be {places}. "
        f"To prepare it: {row.prepare_command}; to get what that needs: ovss datasets download {row.preparation}"
    )
