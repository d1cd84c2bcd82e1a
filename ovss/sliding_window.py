"""CAT-Seg's test protocol, for any model of independent classes: windows of a picture and a view of the whole.

Plain torch; knows no model. Shapes: B batch, V views, T rows of text, K classes, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss.inference import DenseModel, merge_rows
from ovss.labels import first_maximum, in_class_order, resize
from ovss.precision import at_least_float32

# Rows of text, of all pictures together, of which all windows exist at full size at once, on a GPU; on a CPU one: it
# then stays in the cache.
DEVICE_ROWS = 64


@dataclass(frozen=True)
class SlidingWindow:
    """CAT-Seg's test protocol: overlapping windows of the squashed picture, averaged with a view of the whole.

    Args:
        canvas: the picture is squashed to this (height, width), aspect ratio lost, and the windows tile it.
        window: side of the square windows, and of the global view, which is made from the unsquashed picture.
        overlap: share of a window that the next one covers again, cut to whole pixels.
        whole: average the windows with a view of the whole picture; without it a fifth of the published work is saved,
            and answers are others than the published ones.

    Raises:
        ValueError: the windows do not cover the canvas exactly.
    """

    canvas: tuple[int, int]
    window: int
    overlap: float
    whole: bool = True

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
        """Images (B,3,H,W) of any size -> (B,V,3,window,window): the windows, then, if asked for, the whole picture."""
        squashed = _bilinear(images, self.canvas)
        views = [squashed[..., y : y + self.window, x : x + self.window] for y, x in self.corners]
        if self.whole:
            views.append(_bilinear(images, (self.window, self.window)))
        return torch.stack(views, dim=1)

    def fuse(self, logits: Tensor) -> Tensor:
        """Logits (B,V,T,h,w) of the views -> probabilities (B,T,canvas): mean of windows, then mean with the whole."""
        logits = at_least_float32(logits)
        probabilities = _bilinear(logits.flatten(0, 1), (self.window, self.window)).sigmoid_()
        probabilities = probabilities.unflatten(0, logits.shape[:2])
        total = logits.new_zeros(len(logits), logits.shape[2], *self.canvas)
        for index, (y, x) in enumerate(self.corners):
            total[..., y : y + self.window, x : x + self.window] += probabilities[:, index]
        total.div_(self._windows.to(logits))
        return total.add_(_bilinear(probabilities[:, -1], self.canvas)).div_(2) if self.whole else total

    @cached_property
    def _windows(self) -> Tensor:
        """How many windows there are at each place of the canvas."""
        count = torch.zeros(self.canvas)
        for y, x in self.corners:
            count[y : y + self.window, x : x + self.window] += 1
        return count

    def __call__(
        self,
        model: DenseModel,
        images: Tensor,
        text: Tensor,
        classes: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Score as `DenseModel.forward` does, images of any size."""
        size = size or (images.shape[-2], images.shape[-1])
        logits = model.logits(self.views(images).flatten(0, 1), text)
        return merge_rows(torch.cat([*self._full_size(logits, len(images), size)], dim=1), classes)

    @torch.no_grad()
    def labels(
        self,
        model: DenseModel,
        images: Tensor,
        text: Tensor,
        classes: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Label as `DenseModel.labels` does, images of any size: memory does not grow with the classes."""
        size = size or (images.shape[-2], images.shape[-1])
        text, classes = in_class_order(text, classes, dim=0)
        rows: list[Tensor] = []

        def parts() -> Iterator[Tensor]:
            for some, logits in model.logit_parts(self.views(images).flatten(0, 1), text):
                rows.append(some)
                yield from self._full_size(logits, len(images), size)

        winner, best = first_maximum(parts())
        return classes[torch.cat(rows)[winner]], best

    def _full_size(self, logits: Tensor, images: int, size: tuple[int, int]) -> Iterator[Tensor]:
        """Probabilities (images,t,H',W') of a few rows after the other, from logits (images*V,T,h,w) of all views.

        On a CPU every row is fused alone, so that its values depend on no other (see `ovss.labels.resize`).
        """
        rows = 1 if logits.device.type == "cpu" else max(DEVICE_ROWS // images, 1)
        for part in logits.unflatten(0, (images, -1)).split(rows, dim=2):
            yield resize(self.fuse(part), size)


def _bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
