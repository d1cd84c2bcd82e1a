"""Predictions for later use: label pictures, written as they come, and COCO's list of segments. Imports no torch.

H W pixels; K classes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ovss.files import write_atomic
from ovss.visualize import label_png


class LabelPictures:
    """Writes the labels of each picture to a folder, as `<stem of the picture>.png`, whole or not at all.

    Pixel value = class, see `ovss.visualize.label_png`. What is written stays, whatever happens to the run. That no two
    pictures have one stem is to be checked before, over the shares of all processes: `check_stems`.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, labels: np.ndarray, file_name: str) -> None:
        """Write labels (H,W) of a picture. Raises ValueError where the file, which it names, cannot be written."""
        path = self.folder / f"{Path(file_name).stem}.png"
        picture = label_png(labels)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, lambda out: picture.save(out, "PNG"))
        except OSError as error:
            raise ValueError(f"label picture {path} cannot be written: {error}") from error


def check_stems(file_names: Iterable[str]) -> None:
    """Raise ValueError where the label pictures of two different pictures would be one file."""
    source: dict[str, str] = {}
    for file_name in file_names:
        stem = Path(file_name).stem
        if source.setdefault(stem, file_name) != file_name:
            raise ValueError(f"label pictures of {source[stem]} and {file_name} would both be {stem}.png")


def segments(labels: np.ndarray, file_name: str, ids: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
    """One entry for each class of the labels (H,W), in the format of Detectron2's `sem_seg_predictions.json`.

    Args:
        ids: the data set's own id of each class, default the class itself.

    Returns: dicts with "file_name", "category_id" and "segmentation", a run-length encoding that pycocotools decodes.
    """
    found = []
    columns = np.asfortranarray(labels)  # as the encoding runs
    for label in np.unique(labels).tolist():
        encoded = coco_mask.encode((columns == label).view(np.uint8))
        entry = {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}
        category = label if ids is None else ids[label]
        found.append({"file_name": file_name, "category_id": category, "segmentation": entry})
    return found
