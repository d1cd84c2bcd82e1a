"""Resizing, Detectron2's pixel for pixel, since published scores depend on it. Imports fvcore, Pillow and torch."""

import sys
from collections.abc import Sequence

import numpy as np
import torch
from fvcore.transforms.transform import NoOpTransform, Transform
from PIL import Image
from PIL.Image import Resampling
from torch.nn import functional as F

from ovss.d2.lite.augmentation import Augmentation

_TORCH_MODES = {Resampling.NEAREST: "nearest", Resampling.BILINEAR: "bilinear", Resampling.BICUBIC: "bicubic"}


class ResizeTransform(Transform):
    """Resize (h, w) to (new_h, new_w); `interp` is one of Pillow's filters."""

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: Resampling | None = None):
        super().__init__()
        self.h, self.w, self.new_h, self.new_w = h, w, new_h, new_w
        self.interp = Resampling.BILINEAR if interp is None else interp

    def apply_image(self, img: np.ndarray, interp: Resampling | None = None) -> np.ndarray:
        """Resize (H,W) or (H,W,C): uint8 by Pillow (with anti-aliasing), floats by torch (without)."""
        if img.shape[:2] != (self.h, self.w):
            raise ValueError(f"this transform resizes {(self.h, self.w)}, but the image is {img.shape[:2]}")
        interp = self.interp if interp is None else interp
        if img.dtype == np.uint8:
            return self._resize_uint8(img, interp)
        if not np.issubdtype(img.dtype, np.floating):
            raise ValueError(f"can resize uint8 and floating point, not {img.dtype}; convert labels to float64 first")
        planes = torch.from_numpy(np.ascontiguousarray(img)).reshape(self.h, self.w, -1).permute(2, 0, 1)
        mode = _TORCH_MODES[interp]
        corners = None if mode == "nearest" else False
        resized = F.interpolate(planes[None], (self.new_h, self.new_w), mode=mode, align_corners=corners)[0]
        return resized.permute(1, 2, 0).reshape(self.new_h, self.new_w, *img.shape[2:]).numpy()

    def _resize_uint8(self, img: np.ndarray, interp: Resampling) -> np.ndarray:
        single = img.ndim == 3 and img.shape[2] == 1  # Pillow has no image with one explicit channel
        picture = Image.fromarray(img[:, :, 0] if single else img)
        resized = np.asarray(picture.resize((self.new_w, self.new_h), interp))
        return resized[:, :, None] if single else resized

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Scale (N,2) points (x, y)."""
        return coords * np.asarray([self.new_w / self.w, self.new_h / self.h])

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Resize (H,W) labels by nearest neighbour."""
        return self.apply_image(segmentation, interp=Resampling.NEAREST)

    def inverse(self) -> "ResizeTransform":
        return ResizeTransform(self.new_h, self.new_w, self.h, self.w, self.interp)


class ResizeShortestEdge(Augmentation):
    """Resize so that the shorter side is as asked, or the longer side `max_size` where it would pass that; aspect kept.

    `short_edge_length` in pixels: one value; with `sample_style` "range" the two ends of an interval, "choice" a list
    to draw from. A length of 0 keeps the image as it is.
    """

    def __init__(
        self,
        short_edge_length: int | Sequence[int],
        max_size: int = sys.maxsize,
        sample_style: str = "range",
        interp: Resampling = Resampling.BILINEAR,
    ):
        lengths = (short_edge_length,) * 2 if isinstance(short_edge_length, int) else tuple(short_edge_length)
        if sample_style not in ("range", "choice"):
            raise ValueError(f"unknown sample_style {sample_style!r}; known: range, choice")
        if sample_style == "range" and len(lengths) != 2:
            raise ValueError(f"sample_style 'range' needs the two ends of an interval, not {lengths}")
        self.short_edge_length, self.max_size, self.interp = lengths, max_size, interp
        self.sample_style = sample_style

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        if self.sample_style == "range":
            size = np.random.randint(self.short_edge_length[0], self.short_edge_length[1] + 1)  # noqa: NPY002 (SEED seeds it)
        else:
            size = np.random.choice(self.short_edge_length)  # noqa: NPY002 (as above)
        if size == 0:
            return NoOpTransform()
        return ResizeTransform(height, width, *self.get_output_shape(height, width, size, self.max_size), self.interp)

    @staticmethod
    def get_output_shape(oldh: int, oldw: int, short_edge_length: int, max_size: int) -> tuple[int, int]:
        """(height, width) after the resize, each rounded half up. The order of the float operations is Detectron2's."""
        scale = float(short_edge_length) / min(oldh, oldw)
        if oldh < oldw:
            height, width = float(short_edge_length), scale * oldw
        else:
            height, width = scale * oldh, float(short_edge_length)
        longest = max(height, width)
        if longest > max_size:
            height, width = height * (max_size / longest), width * (max_size / longest)
        return int(height + 0.5), int(width + 0.5)
