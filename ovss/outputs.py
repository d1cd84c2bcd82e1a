"""The files that a segmentation can become, by name: `ovss.segmentation`, `ovss.bulk.video`. Standard library only."""

from collections.abc import Sequence

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


def check_outputs(outputs: Sequence[str], known: dict[str, str], of: str) -> None:
    """Raise ValueError for a name that is not in the table `known`, PICTURE or VIDEO, which is `of` something."""
    unknown = [name for name in outputs if name not in known]
    if unknown:
        raise ValueError(f"unknown output {unknown[0]!r} of {of}; known: {', '.join(known)}")
