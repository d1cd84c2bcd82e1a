"""A policy looks at an image and returns a transform, which is applied to image and labels alike. Imports fvcore."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList


class AugInput:
    """An image (H,W) or (H,W,C) and, where there are, its labels (H,W); `transform` changes both in place."""

    def __init__(self, image: np.ndarray, *, sem_seg: np.ndarray | None = None):
        self.image = image
        self.sem_seg = sem_seg

    def transform(self, tfm: Transform) -> None:
        self.image = tfm.apply_image(self.image)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)


class Augmentation:
    """A policy: `get_transform` decides, the call also applies the decision to an AugInput and returns it.

    The arguments of `get_transform` are attributes of the AugInput: `image`, or `image, sem_seg`.
    """

    def get_transform(self, *arguments: Any) -> Transform:
        raise NotImplementedError

    def __call__(self, aug_input: AugInput) -> Transform:
        wanted = inspect.signature(self.get_transform).parameters
        tfm = self.get_transform(*(getattr(aug_input, name) for name in wanted))
        aug_input.transform(tfm)
        return tfm


class AugmentationList(Augmentation):
    """Augmentations one after the other: each sees what the one before it made."""

    def __init__(self, augs: Sequence[Augmentation]):
        self.augs = list(augs)

    def __call__(self, aug_input: AugInput) -> TransformList:
        return TransformList([aug(aug_input) for aug in self.augs])
