"""A folder of segmented pictures as one file in COCO's formats. Imports no torch.

Both are made of the NAME.json of the pictures, so also of what earlier runs have written, and written as a stream.
"""

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ovss.bulk.jobs import RESERVED
from ovss.files import write_atomic
from ovss.outputs import read_record

PANOPTIC, SEGMENTS = (f"{name}.json" for name in RESERVED)
# What the NAME.json of a picture with this output has.
KEYS = {"panoptic": "segments_info", "rle": "rle"}


def merge(folder: Path, outputs: Sequence[str]) -> list[Path]:
    """Write what `outputs` ask for and return the files' paths.

    `coco_panoptic.json` is COCO's panoptic format: "images", "annotations" (their pictures are NAME_panoptic.png) and
    "categories", of which the ids are the classes from 0. `coco_segments.json` is COCO's list of results: "image_id"
    (the NAME), "file_name", "category_id", "segmentation" (run lengths).

    Raises:
        ValueError: pictures of different words.
    """
    made = []
    classes = check_words(folder, outputs)
    if "panoptic" in outputs:
        made.append(folder / PANOPTIC)
        write_atomic(made[-1], lambda out: _panoptic(folder, classes, out))
    if "rle" in outputs:
        made.append(folder / SEGMENTS)
        entries = (
            {"image_id": stem, "file_name": record["file"], **entry}
            for stem, record in _records(folder, "rle")
            for entry in record["rle"]
        )
        write_atomic(made[-1], lambda out: _array(entries, out))
    return made


def check_words(
    folder: Path, outputs: Sequence[str], classes: Sequence[str] = (), rewritten: Container[str] = ()
) -> list[str]:
    """The classes of what `merge` puts together, all but the NAMEs that are `rewritten`; `classes` come first.

    Raises:
        ValueError: a picture of other words.
    """
    found = list(classes)
    for stem, record in (one for name in outputs if name in KEYS for one in _records(folder, KEYS[name])):
        found = found or record["classes"]
        if stem not in rewritten and record["classes"] != found:
            raise ValueError(f"{folder / stem}.json was segmented with other words: give this run a folder of its own")
    return found


def _panoptic(folder: Path, classes: Sequence[str], out: BinaryIO) -> None:
    images = (
        {"id": stem, "file_name": record["file"], "width": record["width"], "height": record["height"]}
        for stem, record in _records(folder, "segments_info")
    )
    annotations = (
        {"image_id": stem, "file_name": f"{stem}_panoptic.png", "segments_info": record["segments_info"]}
        for stem, record in _records(folder, "segments_info")
    )
    categories = [{"id": index, "name": name, "isthing": 0} for index, name in enumerate(classes)]
    for start, entries in (
        (b'{"images": ', images),
        (b', "annotations": ', annotations),
        (b', "categories": ', categories),
    ):
        out.write(start)
        _array(entries, out)
    out.write(b"}\n")


def _array(entries: Iterable[dict[str, Any]], out: BinaryIO) -> None:
    """A JSON array, an entry a line."""
    before = b"[\n"
    for entry in entries:
        out.write(before + json.dumps(entry).encode())
        before = b",\n"
    out.write(b"[]" if before == b"[\n" else b"\n]")


def _records(folder: Path, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(NAME, content) of every NAME.json in the folder that has `key`, by name."""
    for path in sorted(folder.glob("*.json")):
        if path.name in (PANOPTIC, SEGMENTS):
            continue
        record = read_record(path)
        if key in record:
            yield path.stem, record
