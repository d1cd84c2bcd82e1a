"""Labels of training crops as small whole numbers, from file to crop. The seam, fvcore, OpenCV, numpy, torch.

H W pixels. Small numbers make every later step cheap; their resize is the one of floats, which was published.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fvcore.transforms.transform import Transform

from ovss.d2.api import T
from ovss.datasets.pairs import read_stored_labels, relabelled
from ovss.images import ImageError

_KINDS = (np.uint8, np.int16, np.int32)


class LabelReader:
    """File -> classes (H,W), of the smallest type that holds them all.

    Args:
        classes: how many there are.
        unlabelled: value of pixels without a label in the file, once `label_map` is applied.
        label_map: of the data set, see `read_labels`.
        ignore_label: value of such pixels in what is returned; no class.
    """

    def __init__(self, *, classes: int, unlabelled: int, label_map: Sequence[tuple[int, int]], ignore_label: int):
        self.classes, self.unlabelled = classes, unlabelled
        self.label_map, self.ignore_label = label_map, ignore_label
        self._wrong = classes + (ignore_label == classes)  # stands for every value that is neither
        needed = min(ignore_label, 0), max(ignore_label, self._wrong)
        fitting = [kind for kind in _KINDS if np.iinfo(kind).min <= needed[0] and needed[1] <= np.iinfo(kind).max]
        if not fitting:
            raise ValueError(f"LOSS.IGNORE_LABEL {ignore_label}: expected a number of at most 32 bits, such as 65535")
        self.dtype = fitting[0]
        self._tables = {bits: self._meaning(np.arange(2**bits)) for bits in (8, 16)}

    def _meaning(self, values: np.ndarray) -> np.ndarray:
        """What int64 values of a file stand for."""
        new = relabelled(values, self.label_map)
        known = np.where((new >= 0) & (new < self.classes), new, self._wrong)
        return np.where(new == self.unlabelled, self.ignore_label, known).astype(self.dtype)

    def __call__(self, path: str) -> np.ndarray:
        """Raises ImageError, naming the file, where it is unreadable or has a value that is no class."""
        stored = read_stored_labels(path)
        if stored.dtype in (np.uint8, np.bool_):
            labels = cv2.LUT(stored.astype(np.uint8, copy=False), self._tables[8])
        elif stored.dtype == np.uint16:
            labels = self._tables[16].take(stored)
        else:
            values, places = np.unique(stored, return_inverse=True)
            labels = self._meaning(values.astype(np.int64)).take(places.reshape(stored.shape))
        wrong = labels == self._wrong
        if wrong.any():
            value = relabelled(stored[wrong][:1].astype(np.int64), self.label_map)[0]
            raise ImageError(
                f"label image {path}: label {value}, but there are {self.classes} classes "
                f"(0 to {self.classes - 1}) and pixels without a label are {self.unlabelled}"
            )
        return labels


class CropInput(T.AugInput):
    """Picture and labels under augmentation; labels, of any type, are resized as torch resizes float64 (published).

    Detectron2 hands labels of 8 bits to Pillow, whose nearest neighbours are others, and has no way for 16 bits.
    """

    def transform(self, tfm: Transform) -> None:
        """Raises ImageError where a resize would leave nothing of a thin picture."""
        if not isinstance(tfm, T.ResizeTransform) or self.sem_seg is None:
            super().transform(tfm)
            return
        if min(tfm.new_h, tfm.new_w) < 1:
            raise ImageError(f"a picture of {tfm.w} x {tfm.h} px is too thin to be resized")
        self.image = tfm.apply_image(self.image)
        rows, columns = _nearest(tfm.h, tfm.new_h), _nearest(tfm.w, tfm.new_w)
        self.sem_seg = self.sem_seg[rows][:, columns]


def _nearest(size: int, new: int) -> np.ndarray:
    """Which of `size` rows torch's nearest neighbour takes for each of `new`: asked of torch, since it rounds."""
    places = torch.arange(size, dtype=torch.float64)[None, None, :, None]
    return F.interpolate(places, (new, 1), mode="nearest").flatten().long().numpy()
