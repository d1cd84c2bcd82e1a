"""The best and the worst pictures of an evaluation, kept while it runs in memory that does not grow. Imports no torch.

H W pixels as shown: the long side is at most SIDE. A picture's score is its own mIoU_gt, in percent.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ovss.visualize import resize_labels

KEPT = 4  # of the best, and as many of the worst
SIDE = 512


@dataclass(frozen=True)
class Example:
    """One picture: `image` (H,W,3) uint8 RGB, `prediction` and `target` (H,W) integers, `score` in percent."""

    file: str
    score: float
    image: np.ndarray
    prediction: np.ndarray
    target: np.ndarray


def shown_example(file: str, score: float, image: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> Example:
    """An example at the size in which it is shown, in the shape of its labels.

    Args:
        image: (h,w,3) uint8, as the model saw it; prediction, target: integers of one shape, that of the answer.
    """
    height, width = target.shape
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    labels = (resize_labels(part, size).astype(np.int32) for part in (prediction, target))
    return Example(file, score, picture, *labels)


class Examples:
    """Keeps the KEPT best and the KEPT worst of all pictures that are offered, ties by file name.

    A file that is offered twice is there once, unless its scores differ, as by two label images.

    What is kept is a function of the pictures alone: neither their order nor the number of processes matters.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[float, str], Example] = {}

    def wants(self, file: str, score: float) -> bool:
        """Whether a picture would be kept now; never one without a score (nan)."""
        place = (-score, file)
        if place in self._kept or math.isnan(score):
            return False
        ranked = self.ranked()
        if len(ranked) < 2 * KEPT:
            return True
        return place < _place(ranked[KEPT - 1]) or place > _place(ranked[KEPT])

    def add(self, example: Example) -> None:
        """Take in a picture, and drop the one that it displaces."""
        if not self.wants(example.file, example.score):
            return
        self._kept[_place(example)] = example
        ranked = self.ranked()
        if len(ranked) > 2 * KEPT:
            del self._kept[_place(ranked[KEPT])]

    def best_and_worst(self) -> tuple[list[Example], list[Example]]:
        """The best, best first, and the worst, worst first; of a few pictures each is in one of both."""
        ranked = self.ranked()
        half = (len(ranked) + 1) // 2
        return ranked[:half], ranked[half:][::-1]

    def ranked(self) -> list[Example]:
        """All that are kept, best first: what one process hands to another."""
        return sorted(self._kept.values(), key=_place)


def _place(example: Example) -> tuple[float, str]:
    """Sorts the best first."""
    return -example.score, example.file
