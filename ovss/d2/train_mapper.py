"""From a record to a training crop: resize, crop, colours, flip, padding (CAT-Seg's recipe). The seam, numpy, torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ovss.d2.api import CfgNode, MetadataCatalog, T
from ovss.d2.color import ColorAugSSD
from ovss.datasets.pairs import read_labels, size_mismatch
from ovss.images import read_image
from ovss.vocabulary import Vocabulary

PADDING = 128  # grey, before CLIP's normalisation (published)


def build_augmentations(cfg: CfgNode, unlabelled: int) -> list[T.Augmentation]:
    """Resize, crop, colours, flip, as cfg.INPUT says; they draw from `random` and from numpy's global generator."""
    node = cfg.INPUT
    built: list[T.Augmentation] = [
        T.ResizeShortestEdge(node.MIN_SIZE_TRAIN, node.MAX_SIZE_TRAIN, node.MIN_SIZE_TRAIN_SAMPLING)
    ]
    if node.CROP.ENABLED:
        crop = (node.CROP.TYPE, node.CROP.SIZE, node.CROP.SINGLE_CATEGORY_MAX_AREA)
        built.append(T.RandomCrop_CategoryAreaConstraint(*crop, ignored_category=unlabelled))
    if node.COLOR_AUG_SSD:
        built.append(ColorAugSSD())
    flip = node.RANDOM_FLIP
    if flip != "none":
        built.append(T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical"))
    return built


class TrainMapper:
    """Record -> {"image": uint8 (3,S,S), "sem_seg": int64 (S,S), "vocabulary", ...the record}.

    Args:
        augmentations: applied in this order to picture and labels.
        vocabulary: the words of the data set, which travel with the crop.
        unlabelled: value of pixels without a label in the label images.
        label_map: of the data set, see `read_labels`.
        ignore_label: value of such pixels, and of padding, in `sem_seg`.
        side: crops are padded to this square, on the right and below, in pixels; 0 leaves them as they are.
    """

    def __init__(
        self,
        *,
        augmentations: Sequence[T.Augmentation],
        vocabulary: Vocabulary,
        unlabelled: int,
        label_map: Sequence[tuple[int, int]] = (),
        ignore_label: int,
        side: int,
    ):
        if 0 <= ignore_label < len(vocabulary.classes):
            raise ValueError(
                f"LOSS.IGNORE_LABEL {ignore_label} is the class {vocabulary.classes[ignore_label]!r}: "
                f"take a value that is no class, such as {max(unlabelled, len(vocabulary.classes))}"
            )
        self.augmentation = T.AugmentationList(augmentations)
        self.vocabulary = vocabulary
        self.unlabelled = unlabelled
        self.label_map = label_map
        self.ignore_label = ignore_label
        self.side = side

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "TrainMapper":
        """For the sets of cfg.DATASETS.TRAIN. Raises ValueError where two of them differ in words or label values."""
        first, *others = (MetadataCatalog.get(name) for name in cfg.DATASETS.TRAIN)
        label_map = first.get("label_map", ())
        for other in others:
            same_values = (other.ignore_label, other.get("label_map", ())) == (first.ignore_label, label_map)
            if other.vocabulary != first.vocabulary or not same_values:
                raise ValueError(
                    f"DATASETS.TRAIN: {first.name!r} and {other.name!r} differ in words, ignore label or label map: "
                    "train on sets that share them"
                )
        return cls(
            augmentations=build_augmentations(cfg, first.ignore_label),
            vocabulary=first.vocabulary,
            unlabelled=first.ignore_label,
            label_map=label_map,
            ignore_label=cfg.LOSS.IGNORE_LABEL,
            side=cfg.INPUT.SIZE_DIVISIBILITY,
        )

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ValueError naming the files: unreadable, of two sizes, a label of no class, a crop above `side`."""
        image = read_image(record["file_name"])
        labels = read_labels(record["sem_seg_file_name"], self.label_map)
        if labels.shape != image.shape[:2]:
            raise size_mismatch(record, labels.shape, image.shape)
        count = len(self.vocabulary.classes)
        wrong = labels[((labels < 0) | (labels >= count)) & (labels != self.unlabelled)]
        if wrong.size:
            raise ValueError(
                f"label image {record['sem_seg_file_name']}: label {wrong[0]}, but there are {count} classes "
                f"(0 to {count - 1}) and pixels without a label are {self.unlabelled}"
            )
        crop = T.AugInput(image, sem_seg=labels.astype(np.float64))  # so resized by torch, not Pillow, as published
        self.augmentation(crop)
        assert crop.sem_seg is not None
        labels = crop.sem_seg.astype(np.int64)
        labels[labels == self.unlabelled] = self.ignore_label
        height, width = labels.shape
        if self.side and max(height, width) > self.side:
            raise ValueError(
                f"{record['file_name']}: a crop of {width} x {height} px does not fit into INPUT.SIZE_DIVISIBILITY "
                f"{self.side} px: raise it, or lower INPUT.CROP.SIZE"
            )
        border = (0, max(self.side - width, 0), 0, max(self.side - height, 0))
        planes = torch.from_numpy(np.ascontiguousarray(crop.image.transpose(2, 0, 1)))
        return {
            **record,
            "image": F.pad(planes, border, value=PADDING),
            "sem_seg": F.pad(torch.from_numpy(labels), border, value=self.ignore_label),
            "vocabulary": self.vocabulary,
        }
