"""What a model finds in a picture, and the files it can become. Imports numpy, Pillow and pycocotools; no torch.

Shapes: K classes, H W pixels.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ovss.files import write_atomic, write_json
from ovss.outputs import DEFAULT, PICTURE, check_outputs
from ovss.predictions import panoptic_png, run_lengths, segments_info
from ovss.visualize import label_png, overlay
from ovss.vocabulary import BACKGROUND


@dataclass(frozen=True)
class Segmentation:
    """One picture and its labels.

    Attributes:
        labels: (H, W) int64 in [0, K).
        scores: (H, W) float32, the score of the winning class (`Predictor.logits` says what it is).
        classes: the K names.
        image: (H, W, 3) uint8 RGB, the picture.
        file: where it came from; "" for an array, "picture_0", "picture_1", ... for those of a list.
        probabilities: (K, H, W) float32 in [0, 1] where they were asked for: CAT-Seg's are of each class by itself, the
            others' sum to 1.
    """

    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    image: np.ndarray
    file: str = ""
    probabilities: np.ndarray | None = None

    def named(self, file: str) -> "Segmentation":
        """The same, said to come from `file`."""
        return replace(self, file=file)

    def areas(self) -> dict[str, float]:
        """Share of the picture's pixels of every class, in the order of `classes`; they sum to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        return {name: int(count) / self.labels.size for name, count in zip(self.classes, counts, strict=True)}

    def overlay(self, opacity: float = 0.6, legend: bool = True) -> Image.Image:
        """Draw the labels over the picture, with a legend; the merged background stays untinted.

        Args:
            opacity: 0 shows the picture alone, 1 the colours alone.
        """
        background = self.classes.index(BACKGROUND) if BACKGROUND in self.classes else None
        return overlay(self.image, self.labels, self.classes, opacity, legend, background)

    def record(self) -> dict[str, Any]:
        """What `NAME.json` always holds: "file", "width", "height", "classes" and "areas"."""
        height, width = self.labels.shape
        sizes = {"width": width, "height": height}
        return {"file": self.file, **sizes, "classes": list(self.classes), "areas": self.areas()}

    def save(
        self,
        folder: str | os.PathLike,
        stem: str | None = None,
        outputs: Sequence[str] = DEFAULT,
        told: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Write what is asked for to `<folder>/<stem>...`, and `<stem>.json`; return what that holds.

        The JSON is written last, and one that was there is removed first: where it is, what it tells of is there too.

        Args:
            folder: made where it is missing.
            stem: default: that of `file`, "picture" for an array.
            outputs: names of `ovss.outputs.PICTURE`.
            told: what else the JSON shall hold.

        Raises:
            ValueError: an unknown output, or probabilities that were not asked of `Predictor.segment`.
            OSError: it cannot be written there.
        """
        check_outputs(outputs, PICTURE, "a picture")
        folder = Path(folder)
        stem = stem or Path(self.file).stem or "picture"
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{stem}.json"
        target.unlink(missing_ok=True)
        record = self.record() | dict(told)
        for name in outputs:
            write, entry = _MAKERS[name](self)
            record.update(entry)
            if write:
                write_atomic(folder / f"{stem}{PICTURE[name]}", write)
        write_json(target, record)
        return record


# What writes a file, if anything, and what the JSON gets.
Output = tuple[Callable[[BinaryIO], object] | None, dict[str, Any]]


def _overlay(found: Segmentation) -> Output:
    # Full colour resolution: the default of JPEG smears the thin contours.
    return partial(found.overlay().save, format="JPEG", quality=92, subsampling=0), {}


def _labels(found: Segmentation) -> Output:
    return partial(label_png(found.labels).save, format="PNG"), {}


def _panoptic(found: Segmentation) -> Output:
    return partial(panoptic_png(found.labels).save, format="PNG"), {"segments_info": segments_info(found.labels)}


def _rle(found: Segmentation) -> Output:
    encoded = run_lengths(found.labels)
    return None, {"rle": [{"category_id": label, "segmentation": rle} for label, rle in encoded.items()]}


def _probabilities(found: Segmentation) -> Output:
    values = found.probabilities
    if values is None:
        raise ValueError("probabilities were not kept: call segment(..., probabilities=True)")
    halves, classes = values.astype(np.float16), np.array(found.classes)
    return lambda out: np.savez_compressed(out, probabilities=halves, classes=classes), {}


_MAKERS: dict[str, Callable[[Segmentation], Output]] = {
    "overlay": _overlay,
    "labels": _labels,
    "panoptic": _panoptic,
    "rle": _rle,
    "probabilities": _probabilities,
}
