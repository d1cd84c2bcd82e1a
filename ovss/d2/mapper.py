"""Test-time resize, and the mapper from a record to a batched input. Detectron2 by its seam, Pillow, torchvision."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from ovss.d2.api import CfgNode, MetadataCatalog, T
from ovss.datasets.pairs import read_labels, size_mismatch
from ovss.images import ImageError, read_image

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class InputTransform:
    """The resize before the model: shortest edge, as Detectron2 does it, or CLIP's own with a centre crop.

    `__call__` takes and returns uint8 (H,W,3); `labels` does the same to a label image, with the nearest neighbour.
    """

    def __init__(self, *, min_size: int, max_size: int, interpolation: str = "bilinear", center_crop: bool = False):
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"unknown INPUT.INTERPOLATION_TEST {interpolation!r}; known: {', '.join(INTERPOLATIONS)}")
        if min_size < 1 or max_size < min_size:
            raise ValueError(f"INPUT.MIN_SIZE_TEST {min_size} and MAX_SIZE_TEST {max_size}: expected 1 <= MIN <= MAX")
        self.min_size, self.max_size = min_size, max_size
        self.interpolation = INTERPOLATIONS[interpolation]
        self.resize = T.ResizeShortestEdge([min_size, min_size], max_size, interp=self.interpolation)
        self.center_crop = center_crop

    @classmethod
    def from_config(cls, cfg: CfgNode, center_crop: bool) -> "InputTransform":
        return cls(
            min_size=cfg.INPUT.MIN_SIZE_TEST,
            max_size=cfg.INPUT.MAX_SIZE_TEST,
            interpolation=cfg.INPUT.INTERPOLATION_TEST,
            center_crop=center_crop,
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.center_crop:
            return np.asarray(self._square(Image.fromarray(image), self.interpolation))
        longer, shorter = max(image.shape[:2]), min(image.shape[:2])
        if 2 * self.max_size * shorter < longer:
            raise ImageError(f"a picture of {image.shape[1]} x {image.shape[0]} px is too thin to be resized")
        return self.resize.get_transform(image).apply_image(image)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """The label image (H,W) int64 on the same pixels as the picture."""
        if not self.center_crop:
            raise ValueError("labels stay at their own resolution where the picture is not cropped")
        return np.asarray(self._square(Image.fromarray(labels.astype(np.int32)), Image.Resampling.NEAREST)).astype(
            np.int64
        )

    def _square(self, image: Image.Image, interpolation: Image.Resampling) -> Image.Image:
        """torchvision's Resize and CenterCrop: long side rounded down, the crop in the middle."""
        mode = TF.InterpolationMode(interpolation.name.lower())
        return TF.center_crop(TF.resize(image, self.min_size, mode), self.min_size)


class InputMapper:
    """Record -> batched input: the resized picture, the size of the answer, the data set's words, the true labels.

    `sem_seg` (height,width) int32 holds the labels, those of the crop where there is a centre crop. The model is asked
    for `labels_only`. All files are read here, in the processes of the loader.
    """

    def __init__(self, transform: InputTransform, dataset_name: str):
        self.transform = transform
        metadata = MetadataCatalog.get(dataset_name)
        self.vocabulary = metadata.vocabulary
        self.label_map = metadata.get("label_map", ())

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        image = read_image(record["file_name"])
        shown = self.transform(image)
        labels = read_labels(record["sem_seg_file_name"], self.label_map)
        if labels.shape != image.shape[:2]:
            raise size_mismatch(record, labels.shape, image.shape)
        if self.transform.center_crop:
            labels = self.transform.labels(labels)
        height, width = labels.shape
        return {
            **record,
            "image": torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1))),
            "height": height,
            "width": width,
            "sem_seg": torch.from_numpy(labels.astype(np.int32)),
            "vocabulary": self.vocabulary,
            "labels_only": True,
        }
