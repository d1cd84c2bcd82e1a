"""All augmentations under one name, as Detectron2 has them: `T.RandomCrop` and the like."""

from ovss.d2.lite.augmentation import AugInput, Augmentation, AugmentationList
from ovss.d2.lite.crop import RandomCrop, RandomCrop_CategoryAreaConstraint, RandomFlip
from ovss.d2.lite.resize import ResizeShortestEdge, ResizeTransform

__all__ = [
    "AugInput",
    "Augmentation",
    "AugmentationList",
    "RandomCrop",
    "RandomCrop_CategoryAreaConstraint",
    "RandomFlip",
    "ResizeShortestEdge",
    "ResizeTransform",
]
