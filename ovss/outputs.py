"""The files that a segmentation can become, by name: `ovss.segmentation`, `ovss.bulk.video`. Standard library only."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# How the file of each ends; "rle" goes into NAME.json.
PICTURE = {
    "overlay": "_overlay.jpg",
    "labels": "_labels.png",
    "panoptic": "_panoptic.png",
    "rle": "",
    "probabilities": "_probabilities.npz",
}
# A film with the overlay, and a folder with a label PNG for each frame.
VIDEO = {"overlay": "_overlay.mp4", "labels": "_labels"}
DEFAULT = ("overlay", "labels")
# What every NAME.json holds, and no other program's.
RECORD = {"file", "width", "height", "classes", "areas"}


def check_outputs(outputs: Sequence[str], known: dict[str, str], of: str) -> None:
    """Raise ValueError for a name that is not in the table `known`, PICTURE or VIDEO, which is `of` something."""
    unknown = [name for name in outputs if name not in known]
    if unknown:
        raise ValueError(f"unknown output {unknown[0]!r} of {of}; known: {', '.join(known)}")


def read_record(path: Path) -> dict[str, Any]:
    """The content of a NAME.json; empty where there is none, or another program's."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and record.keys() >= RECORD else {}
