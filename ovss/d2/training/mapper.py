"""From a record to a training crop: resize, crop, colours, flip, padding (CAT-Seg's recipe). The seam, numpy, torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ovss.d2.api import CfgNode, MetadataCatalog, T
from ovss.d2.training.color import ColorAugSSD
from ovss.d2.training.labels import CropInput, LabelReader
from ovss.datasets.pairs import size_mismatch
from ovss.images import ImageError, read_image
from ovss.vocabulary import Vocabulary

PADDING = 128  # grey, before CLIP's normalisation (published)


def build_augmentations(cfg: CfgNode) -> list[T.Augmentation]:
    """Resize, crop, colours, flip, as cfg.INPUT says; they draw from `random` and from numpy's global generator."""
    node = cfg.INPUT
    built: list[T.Augmentation] = [
        T.ResizeShortestEdge(node.MIN_SIZE_TRAIN, node.MAX_SIZE_TRAIN, node.MIN_SIZE_TRAIN_SAMPLING)
    ]
    if node.CROP.ENABLED:
        crop = (node.CROP.TYPE, node.CROP.SIZE, node.CROP.SINGLE_CATEGORY_MAX_AREA)
        built.append(T.RandomCrop_CategoryAreaConstraint(*crop, ignored_category=cfg.LOSS.IGNORE_LABEL))
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
        self.read_classes = LabelReader(
            classes=len(vocabulary.classes), unlabelled=unlabelled, label_map=label_map, ignore_label=ignore_label
        )
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
            augmentations=build_augmentations(cfg),
            vocabulary=first.vocabulary,
            unlabelled=first.ignore_label,
            label_map=label_map,
            ignore_label=cfg.LOSS.IGNORE_LABEL,
            side=cfg.INPUT.SIZE_DIVISIBILITY,
        )

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Crop of a record.

        Raises:
            ImageError: files that cannot be used, by name: unreadable, of two sizes, a label of no class.
            ValueError: a crop above `side`.
        """
        image = read_image(record["file_name"])
        labels = self.read_classes(record["sem_seg_file_name"])
        if labels.shape != image.shape[:2]:
            raise size_mismatch(record, labels.shape, image.shape)
        crop = CropInput(image, sem_seg=labels)
        try:
            self.augmentation(crop)
        except ImageError as error:
            raise ImageError(f"{record['file_name']}: {error}") from error
        assert crop.sem_seg is not None
        height, width = crop.sem_seg.shape
        if self.side and max(height, width) > self.side:
            raise ValueError(
                f"{record['file_name']}: a crop of {width} x {height} px does not fit into INPUT.SIZE_DIVISIBILITY "
                f"{self.side} px: raise it, or lower INPUT.CROP.SIZE"
            )
        size = (self.side, self.side) if self.side else (height, width)
        planes = np.full((3, *size), PADDING, np.uint8)
        planes[:, :height, :width] = crop.image.transpose(2, 0, 1)
        classes = np.full(size, self.ignore_label)
        classes[:height, :width] = crop.sem_seg
        tensors = {"image": torch.from_numpy(planes), "sem_seg": torch.from_numpy(classes)}
        return {**record, **tensors, "vocabulary": self.vocabulary}
