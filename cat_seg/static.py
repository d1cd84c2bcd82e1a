"""CAT-Seg in a form that a trace can hold: views together, classes a fixed number at a time. Imports `ovss` and torch.

Shapes: B views, T text rows, K classes, P prompts, D embedding width, h w patch grid, H W pixels.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cat_seg.cost import most_similar, restore, unit
from cat_seg.passes import Aggregation
from cat_seg.swin import Windows, lay_windows
from ovss.precision import at_least_float32
from ovss.static import Merge, resize, without_text_tower

if TYPE_CHECKING:
    from cat_seg.model import CATSeg

# Classes of a view that go through the aggregator at once: it bounds memory, but each group is in the trace once more.
CLASSES_AT_ONCE = 64
# Embeddings whose cost is looked at at once to find those that a view keeps.
ROWS_AT_ONCE = 1024


class StaticCATSeg(nn.Module):
    """See `DenseModel.static_form`: images (B,3,H,W) to scores (B,K,H,W)."""

    text: Tensor

    def __init__(self, model: "CATSeg", text: Tensor, classes: Tensor, size: tuple[int, int]):
        super().__init__()
        self.model = without_text_tower(model)
        self.size = size
        self.register_buffer("text", text)
        self.merge = Merge(classes)
        side = model.resolution // model.clip.visual.patch_size
        self.windows = StaticWindows(lay_windows((side, side), model.aggregator.window, text))

    def forward(self, images: Tensor) -> Tensor:
        features, guidance = self.model.encode_together(images, self.model.pad_to)
        probabilities = at_least_float32(self.logits(features, guidance)).sigmoid()
        return self.merge(resize(probabilities, self.size))

    def logits(self, features: Tensor, guidance: list[Tensor]) -> Tensor:
        """`cat_seg.aggregation.Aggregator.forward` of features (B,D,h,w) and the words: (B,T,4h,4w)."""
        aggregator, pooling = self.model.aggregator, self.model.pooling
        rows, prompts, _ = self.text.shape
        features, text = unit(features, dim=1), unit(self.text, dim=-1)
        words = aggregator.text(unit(text.mean(dim=1), dim=-1))
        chosen, kept = (text[None], words[None]), None
        if 0 < aggregator.kept_classes < rows:
            kept = most_similar(features, text, aggregator.kept_classes, max(ROWS_AT_ONCE // prompts, 1))
            chosen = text[kept], words[kept]
        windows, at_once = self.windows(), CLASSES_AT_ONCE
        group = Aggregation(aggregator, features, *chosen, guidance, windows, pooling, at_once, kept=rows)
        logits = torch.cat([group.logits(index) for index in range(len(group.text))], dim=1)
        return logits if kept is None else restore(logits, kept, rows)


class StaticWindows(nn.Module):
    """Windows that were laid before, whose tensors go where the module goes."""

    into: Tensor
    across: Tensor
    back: Tensor

    def __init__(self, windows: Windows):
        super().__init__()
        self.split = windows.split
        for name in ("into", "across", "back"):
            self.register_buffer(name, getattr(windows, name))
        self.shifted = windows.masks is not None
        self.masks: list[str | None] = []
        for index, mask in enumerate(windows.masks or ()):
            self.masks.append(None if mask is None else f"mask_{index}")
            if mask is not None:
                self.register_buffer(f"mask_{index}", mask.clone())  # a mask is a part of one tensor

    def forward(self) -> Windows:
        masks = tuple(None if name is None else self.get_buffer(name) for name in self.masks)
        return Windows(self.split, self.into, self.across, self.back, masks if self.shifted else None)
