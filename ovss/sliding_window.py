"""CAT-Seg's test protocol, for any model of independent classes: windows of a picture and a view of the whole.

Plain torch; knows no model. Shapes: B batch, V views, T rows of text, K classes, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss.inference import DenseModel, merge_rows
from ovss.labels import first_maximum, in_class_order, resize

# Classes whose full-size probabilities exist at once for all windows: bounds memory, whatever the vocabulary.
CLASSES_AT_ONCE = 64
# Views times rows of text that a model scores at once: bounds memory, whatever the vocabulary.
# The published 5 views of 171 classes are one batch; of 847 classes each view is a batch of its own.
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class SlidingWindow:
    """CAT-Seg's test protocol: overlapping windows of the squashed picture, averaged with a view of the whole.

    Args:
        canvas: the picture is squashed to this (height, width), aspect ratio lost, and the windows tile it.
        window: side of the square windows, and of the global view, which is made from the unsquashed picture.
        overlap: share of a window that the next one covers again, cut to whole pixels.

    Raises:
        ValueError: the windows do not cover the canvas exactly.
    """

    canvas: tuple[int, int]
    window: int
    overlap: float

    def __post_init__(self):
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap {self.overlap} of the windows: must be at least 0 and below 1")
        if any(side < self.window or (side - self.window) % self.stride for side in self.canvas):
            raise ValueError(
                f"windows of {self.window} px every {self.stride} px do not cover a canvas of "
                f"{self.canvas[0]} x {self.canvas[1]} px: each side must be the window plus a multiple of the step"
            )

    @property
    def stride(self) -> int:
        return int(self.window * (1 - self.overlap))

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Upper left corners (y, x) of the windows, row by row."""
        rows, columns = (range(0, side - self.window + 1, self.stride) for side in self.canvas)
        return [(y, x) for y in rows for x in columns]

    def views(self, images: Tensor) -> Tensor:
        """Images (B,3,H,W) of any size -> (B,V,3,window,window): the windows, then the whole picture."""
        squashed = _bilinear(images, self.canvas)
        windows = [squashed[..., y : y + self.window, x : x + self.window] for y, x in self.corners]
        return torch.stack([*windows, _bilinear(images, (self.window, self.window))], dim=1)

    def fuse(self, logits: Tensor) -> Tensor:
        """Logits (B,V,T,h,w) of the views -> probabilities (B,T,canvas): mean of windows, then mean with the whole."""
        probabilities = _bilinear(logits.flatten(0, 1), (self.window, self.window)).sigmoid()
        probabilities = probabilities.unflatten(0, logits.shape[:2])
        total = logits.new_zeros(len(logits), logits.shape[2], *self.canvas)
        count = logits.new_zeros(self.canvas)
        for index, (y, x) in enumerate(self.corners):
            place = (..., slice(y, y + self.window), slice(x, x + self.window))
            total[place] += probabilities[:, index]
            count[place] += 1
        return (total / count + _bilinear(probabilities[:, -1], self.canvas)) / 2

    def __call__(
        self,
        model: DenseModel,
        images: Tensor,
        text: Tensor,
        classes: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Score as `DenseModel.forward` does, images of any size; their views run in batches, see `ROWS_AT_ONCE`."""
        parts = self._full_size(self._logits(model, images, text), size or (images.shape[-2], images.shape[-1]))
        return merge_rows(torch.cat([*parts], dim=1), classes)

    @torch.no_grad()
    def labels(
        self,
        model: DenseModel,
        images: Tensor,
        text: Tensor,
        classes: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Label as `DenseModel.labels` does, images of any size."""
        size = size or (images.shape[-2], images.shape[-1])
        logits, classes = in_class_order(self._logits(model, images, text), classes, dim=2)
        rows, best = first_maximum(self._full_size(logits, size))
        return classes[rows], best

    def _logits(self, model: DenseModel, images: Tensor, text: Tensor) -> Tensor:
        """Logits (B,V,T,h,w) of the views of images (B,3,H,W)."""
        views = self.views(images)
        batches = views.flatten(0, 1).split(max(ROWS_AT_ONCE // len(text), 1))
        return torch.cat([model.logits(batch, text) for batch in batches]).unflatten(0, views.shape[:2])

    def _full_size(self, logits: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
        """Fused probabilities (B,t,H',W') of a few rows after the other."""
        for part in logits.split(CLASSES_AT_ONCE, dim=2):
            yield resize(self.fuse(part), size)


def _bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
