"""Predictions for later use: label pictures, written as they come, and COCO's list of segments. Imports no torch.

H W pixels; K classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ovss.files import write_atomic
from ovss.visualize import label_png


class LabelPictures:
    """Writes the labels of each picture to a folder, as `<stem of the picture>.png`, whole or not at all.

    Pixel value = class, see `ovss.visualize.label_png`. What is written stays, whatever happens to the run.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._source: dict[str, str] = {}

    def write(self, labels: np.ndarray, file_name: str) -> None:
        """Write labels (H,W) of a picture.

        Raises:
            ValueError: another picture has that stem, or the file cannot be written; it is named.
        """
        stem = Path(file_name).stem
        path = self.folder / f"{stem}.png"
        if self._source.setdefault(stem, file_name) != file_name:
            raise ValueError(f"label pictures of {self._source[stem]} and {file_name} would both be {path}")
        picture = label_png(labels)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, lambda out: picture.save(out, "PNG"))
        except OSError as error:
            raise ValueError(f"label picture {path} cannot be written: {error}") from error


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
