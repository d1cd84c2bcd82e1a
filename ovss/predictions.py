"""Predictions for later use: label pictures, written as they come, and COCO's list of segments. Imports no torch.

H W pixels; K classes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
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
    return [
        {"file_name": file_name, "category_id": label if ids is None else ids[label], "segmentation": encoded}
        for label, encoded in run_lengths(labels).items()
    ]


def run_lengths(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """COCO's run-length encoding of each class that is in the labels (H,W), {"size": [H, W], "counts": text}."""
    columns = np.asfortranarray(labels)  # as the encoding runs
    found = {}
    for label in np.unique(labels).tolist():
        encoded = coco_mask.encode((columns == label).view(np.uint8))
        found[label] = {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}
    return found


def panoptic_png(labels: np.ndarray) -> Image.Image:
    """COCO's panoptic picture of the labels (H,W): every class is one segment, of id class + 1 = R + 256 G + 256^2 B.

    0 would be "no label" there.
    """
    ids = labels + 1
    return Image.fromarray(np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8))


def segments_info(labels: np.ndarray) -> list[dict[str, Any]]:
    """COCO's `segments_info` of `panoptic_png`: "id", "category_id", "area", "bbox" (x, y, w, h), "iscrowd"."""
    found = []
    for label in np.unique(labels).tolist():
        rows, columns = np.nonzero(labels == label)
        x, y = int(columns.min()), int(rows.min())
        box = [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1]
        found.append({"id": label + 1, "category_id": label, "area": len(rows), "bbox": box, "iscrowd": 0})
    return found
