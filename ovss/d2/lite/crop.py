"""Random crops and flips, with Detectron2's draws, so that the same seed gives the same crop. Imports fvcore, numpy."""

from collections.abc import Sequence

import numpy as np
from fvcore.transforms.transform import CropTransform, HFlipTransform, NoOpTransform, Transform, VFlipTransform

from ovss.d2.lite.augmentation import Augmentation

CROP_TYPES = ("relative", "relative_range", "absolute", "absolute_range")
_CROPS_TRIED = 10


class RandomFlip(Augmentation):
    """Mirror the image left to right, or upside down where `vertical`, with probability `prob`."""

    def __init__(self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False):
        if horizontal == vertical:
            raise ValueError(f"horizontal={horizontal} and vertical={vertical}: one of both must be set")
        self.prob, self.vertical = prob, vertical

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        if np.random.uniform() >= self.prob:  # noqa: NPY002 (SEED seeds it)
            return NoOpTransform()
        return VFlipTransform(height) if self.vertical else HFlipTransform(width)


class RandomCrop(Augmentation):
    """Cut a rectangle out of an image, everywhere alike.

    `crop_size` by `crop_type`: "relative": shares in (0,1] of height and width; "relative_range": the least shares, the
    shares are drawn; "absolute": (height, width) in pixels, or the image's where that is less; "absolute_range": ends
    of the interval from which both sides are drawn.
    """

    def __init__(self, crop_type: str, crop_size: Sequence[float]):
        if crop_type not in CROP_TYPES:
            raise ValueError(f"unknown crop type {crop_type!r}; known: {', '.join(CROP_TYPES)}")
        self.crop_type, self.crop_size = crop_type, crop_size

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        crop_height, crop_width = self.get_crop_size((height, width))
        top = np.random.randint(height - crop_height + 1)  # noqa: NPY002 (SEED seeds it)
        left = np.random.randint(width - crop_width + 1)  # noqa: NPY002 (as above)
        return CropTransform(left, top, crop_width, crop_height)

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the next crop in pixels."""
        height, width = image_size
        if self.crop_type.startswith("relative"):
            shares = np.asarray(self.crop_size, dtype=np.float32 if self.crop_type == "relative_range" else float)
            if self.crop_type == "relative_range":
                shares = shares + np.random.rand(2) * (1 - shares)  # noqa: NPY002 (SEED seeds it)
            return int(height * shares[0] + 0.5), int(width * shares[1] + 0.5)
        first, second = (int(side) for side in self.crop_size)
        if self.crop_type == "absolute":
            return min(first, height), min(second, width)
        crop_height = np.random.randint(min(height, first), min(height, second) + 1)  # noqa: NPY002 (SEED seeds it)
        crop_width = np.random.randint(min(width, first), min(width, second) + 1)  # noqa: NPY002 (as above)
        return crop_height, crop_width


class RandomCrop_CategoryAreaConstraint(Augmentation):
    """A random crop, drawn up to ten times until it has two classes and none covers `single_category_max_area` of it.

    The share is that of the labelled pixels; `ignored_category` is the label of those that have none. 1.0: any crop.
    """

    def __init__(
        self,
        crop_type: str,
        crop_size: Sequence[float],
        single_category_max_area: float = 1.0,
        ignored_category: int | None = None,
    ):
        self.crop = RandomCrop(crop_type, crop_size)
        self.max_area, self.ignored_category = single_category_max_area, ignored_category

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray) -> Transform:
        crop = self.crop.get_transform(image)
        for _ in range(_CROPS_TRIED - 1):
            if self.max_area >= 1.0 or self._is_varied(crop.apply_segmentation(sem_seg)):
                break
            crop = self.crop.get_transform(image)
        return crop

    def _is_varied(self, sem_seg: np.ndarray) -> bool:
        labels, counts = np.unique(sem_seg, return_counts=True)
        if self.ignored_category is not None:
            counts = counts[labels != self.ignored_category]
        return len(counts) > 1 and counts.max() < counts.sum() * self.max_area
