"""SSD's colour augmentation (Liu et al., ECCV 2016), as in Detectron2's PointRend project. Imports the seam and OpenCV.

H W pixels. All draws come from Python's `random`, in PointRend's order: under one seed both give the same picture.
"""

import random
from collections.abc import Sequence

import cv2
import numpy as np
from fvcore.transforms.transform import Transform

from ovss.d2.api import T

# How far each operation goes: brightness is added, contrast and saturation are factors, hue is in steps of 2 degrees.
RANGES: dict[str, tuple] = {"brightness": (-32, 32), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-18, 18)}


_VALUES = np.arange(256, dtype=np.float32)


def _table(operation: str, amount: float) -> np.ndarray:
    """What an operation makes of each of the 256 values of a channel."""
    if operation == "hue":
        return ((np.arange(256) + amount) % 180).astype(np.uint8)
    changed = _VALUES + amount if operation == "brightness" else _VALUES * amount
    return np.clip(changed, 0, 255).astype(np.uint8)  # rounds down


def _adjust(image: np.ndarray, operation: str, amount: float) -> np.ndarray:
    """One operation on uint8 RGB (H,W,3)."""
    table = _table(operation, amount)
    if operation in ("brightness", "contrast"):
        return cv2.LUT(image, table)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    channel = ("hue", "saturation").index(operation)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


class ColorTransform(Transform):
    """(operation, amount) pairs of `RANGES`, one after the other, on uint8 RGB (H,W,3). Labels stay as they are."""

    def __init__(self, steps: Sequence[tuple[str, float]]):
        super().__init__()
        self.steps = tuple(steps)

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        for operation, amount in self.steps:
            img = _adjust(img, operation, amount)
        return img

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation


class ColorAugSSD(T.Augmentation):
    """Each operation with probability 1/2: brightness first; contrast before or after saturation and hue."""

    def get_transform(self, image: np.ndarray) -> ColorTransform:
        steps = self._draw("brightness")
        contrast_first = random.randrange(2)
        for operation in ("contrast", "saturation", "hue") if contrast_first else ("saturation", "hue", "contrast"):
            steps += self._draw(operation)
        return ColorTransform(steps)

    @staticmethod
    def _draw(operation: str) -> list[tuple[str, float]]:
        if not random.randrange(2):
            return []
        low, high = RANGES[operation]
        return [(operation, random.randint(low, high) if operation == "hue" else random.uniform(low, high))]
