"""Means of regions in a form that a trace can hold: `cliptrase.means` up to rounding. Imports `ovss` and torch.

Shapes: B batch, T rows of text, K classes, R regions that there may be, h w patch grid, H W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliptrase.means import interpolation, mean_by_pixels
from ovss.labels import ROWS_AT_ONCE


class StaticMeans(nn.Module):
    """`cliptrase.means.mean_scores` of known classes.

    Args:
        classes: (T,) class of each row.
        grid: (h, w); size: (H, W).
        clusters: R.
    """

    rows: Tensor
    down: Tensor
    columns: Tensor
    across: Tensor
    single: Tensor
    several: Tensor
    order: Tensor

    def __init__(self, classes: Tensor, grid: tuple[int, int], size: tuple[int, int], clusters: int):
        super().__init__()
        self.clusters = clusters
        # For each line of pixels the two lines of patches around it, and their weights: resizing takes means of four.
        for names, *sides in ((("rows", "down"), grid[0], size[0]), (("columns", "across"), grid[1], size[1])):
            for name, values in zip(names, _around(*sides), strict=True):
                self.register_buffer(name, values)
        classes = classes.cpu()
        rows = classes.bincount()
        alone = (rows[classes] == 1).nonzero()[:, 0]
        self.register_buffer("single", alone)  # rows that are all of their class
        self.register_buffer("several", (rows > 1).nonzero()[:, 0])  # classes of several rows
        self.register_buffer("order", torch.cat([classes[alone], self.several]).argsort())

    def forward(self, logits: Tensor, scores: Tensor, regions: Tensor) -> Tensor:
        """Mean scores (B,K,H,W) of logits (B,T,h,w), `scores` (B,K,H,W) of the same, over regions (B,H,W)."""
        inside = regions.clamp(min=0)
        means = self.region_means(logits, scores, inside).mT
        alone = (regions < 0).unsqueeze(1)
        return torch.where(alone, scores, spread(means, inside))

    def region_means(self, logits: Tensor, scores: Tensor, regions: Tensor) -> Tensor:
        """`cliptrase.means.region_means`: (B,K,R); of classes of several rows by pixels."""
        means = []
        if len(self.single):
            weights = self.region_weights(regions, logits.shape[2], logits.shape[3])
            flat = logits.index_select(1, self.single).flatten(2)
            means.append((flat.double() @ weights.mT).to(logits.dtype))
        if len(self.several):
            parts = scores.index_select(1, self.several).split(ROWS_AT_ONCE, dim=1)
            means += [mean_by_pixels(part, regions, self.clusters) for part in parts]
        return torch.cat(means, dim=1).index_select(1, self.order)

    def region_weights(self, regions: Tensor, height: int, width: int) -> Tensor:
        """`cliptrase.means.region_weights` for a grid of that height and width: (B,R,h*w) float64."""
        patches = height * width
        sums = torch.zeros(regions.shape[0], self.clusters * patches, dtype=torch.float64, device=regions.device)
        for row, down in zip(self.rows.unbind(), self.down.unbind(), strict=True):
            for column, across in zip(self.columns.unbind(), self.across.unbind(), strict=True):
                place = (regions * patches + (row * width)[:, None] + column).flatten(1)
                sums = sums.scatter_add(1, place, (down[:, None] * across).flatten().expand_as(place))
        sums = sums.unflatten(1, (-1, patches))
        return sums / sums.sum(-1, keepdim=True).clamp_min(torch.finfo(sums.dtype).tiny)


def _around(patches: int, pixels: int) -> tuple[Tensor, Tensor]:
    """For each pixel of a line the two patches around it, and their weights, each (2,pixels)."""
    # A patch without weight behind the last one, for a line of one.
    weights = F.pad(interpolation(patches, pixels, torch.device("cpu")), (0, 0, 0, 1))
    first = (weights > 0).int().argmax(0)
    around = torch.stack([first, first + 1])
    return around.clamp(max=patches - 1), weights.gather(0, around)


def spread(table: Tensor, rows: Tensor) -> Tensor:
    """(B,K,H,W): of every pixel the row of its picture's table (B,S,K) that `rows` (B,H,W) names."""
    pictures = torch.arange(rows.shape[0], device=rows.device)[:, None, None]
    picked = table.flatten(0, 1).index_select(0, (pictures * table.shape[1] + rows).flatten())
    return picked.unflatten(0, rows.shape).permute(0, 3, 1, 2)
