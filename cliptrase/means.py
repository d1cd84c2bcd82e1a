"""CLIPtrase's Detectron2 variant: every pixel scores as the mean of its region does. Imports `ovss` and torch.

The mean over a region of resized logits is a weighted mean of the patches' logits, whose weights are the region's
alone: no logits are resized, but of classes of several rows, as the best row differs from pixel to pixel.
Shapes: B batch, T rows of text, K classes, R regions, h w patch grid, H W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss.inference import merge_rows, resized_classes
from ovss.labels import ROWS_AT_ONCE, resize, resized_labels

# Which of R regions a pixel belongs to is looked at for about this many pairs of region and pixel at once.
PAIRS_AT_ONCE = 1 << 20


def mean_scores(logits: Tensor, classes: Tensor | None, regions: Tensor) -> Tensor:
    """Mean logits (B,K,H,W) of each pixel's region; in an image without regions, the pixel's own.

    Args:
        logits: (B,T,h,w) of the patches.
        classes: (T,) as in `merge_rows`.
        regions: (B,H,W) int64 region of each pixel, numbered from 0; -1 everywhere in an image without regions.
    """
    means = region_means(logits, classes, regions)
    scores = means.gather(2, _slot(regions).unsqueeze(1).expand(-1, means.shape[1], -1)).unflatten(2, regions.shape[1:])
    alone = regions[:, 0, 0] < 0
    if alone.any():
        scores[alone] = merge_rows(resize(logits[alone], _size(regions)), classes)
    return scores


def mean_labels(logits: Tensor, classes: Tensor | None, regions: Tensor) -> tuple[Tensor, Tensor]:
    """The first highest class of `mean_scores` and its score, each (B,H,W)."""
    score, label = region_means(logits, classes, regions).max(dim=1)
    label, score = (values.gather(1, _slot(regions)).view_as(regions) for values in (label, score))
    alone = regions[:, 0, 0] < 0
    if alone.any():
        label[alone], score[alone] = resized_labels(logits[alone], _size(regions), classes)
    return label, score


def region_means(logits: Tensor, classes: Tensor | None, regions: Tensor) -> Tensor:
    """Mean over each region of the classes' resized logits: (B,K,R); arguments as in `mean_scores`."""
    count = max(int(regions.max()) + 1, 1)
    weights = region_weights(regions, count, (logits.shape[-2], logits.shape[-1]))
    of_rows = (logits.flatten(2).double() @ weights.mT).to(logits.dtype)
    if classes is None:
        return of_rows
    classes = classes.to(logits.device)
    rows = classes.bincount()
    means = of_rows.new_empty(len(logits), len(rows), count).index_copy_(1, classes, of_rows)
    several = (rows > 1).nonzero().squeeze(1)
    if len(several):
        chosen = rows[classes] > 1
        among = torch.searchsorted(several, classes[chosen])
        parts = resized_classes(logits[:, chosen], _size(regions), among)
        for index, part in zip(several.split(ROWS_AT_ONCE), parts, strict=True):
            means[:, index] = mean_by_pixels(part, regions, count)
    return means


def region_weights(regions: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """How much each patch counts in the mean of bilinearly resized values: (B,R,h*w) float64, each row summing to 1.

    Resizing is linear along rows and columns. Summed here is its transpose, from the pixels of a region to the patches.
    """
    down, across = (interpolation(*sides, regions.device) for sides in zip(grid, regions.shape[1:], strict=True))
    numbers = torch.arange(count, device=regions.device)[:, None, None]
    band = max(1, PAIRS_AT_ONCE // (regions[:, 0].numel() * count))
    sums = down.new_zeros(len(regions), count, *grid)
    for pixels, rows in zip(regions.split(band, dim=1), down.split(band, dim=1), strict=True):
        inside = (pixels.unsqueeze(1) == numbers).double()
        sums += rows @ (inside @ across.mT)
    sums = sums.flatten(2)
    return sums / sums.sum(-1, keepdim=True).clamp_min(torch.finfo(sums.dtype).tiny)


def mean_by_pixels(values: Tensor, regions: Tensor, count: int) -> Tensor:
    """Mean of values (B,K,H,W) over each of the R regions: (B,K,R) in their type.

    In float64 a region of a million pixels loses nothing, and the order in which a GPU adds does not show.
    """
    slot = _slot(regions)
    sums = values.new_zeros(*values.shape[:2], count, dtype=torch.float64)
    sums.scatter_add_(2, slot.unsqueeze(1).expand(-1, values.shape[1], -1), values.flatten(2).double())
    sizes = sums.new_zeros(slot.shape[0], count).scatter_add_(1, slot, torch.ones_like(slot, dtype=torch.float64))
    return (sums / sizes.clamp(min=1).unsqueeze(1)).to(values.dtype)


def interpolation(patches: int, pixels: int, device: torch.device) -> Tensor:
    """What each of the patches of a line contributes to each of its pixels: (patches, pixels) float64."""
    unit = torch.eye(patches, dtype=torch.float64, device=device)[None]
    return F.interpolate(unit, size=pixels, mode="linear", align_corners=False)[0]


def _slot(regions: Tensor) -> Tensor:
    """(B,H*W): the region of each pixel, 0 in an image without regions, whose answer is replaced."""
    return regions.flatten(1).clamp(min=0)


def _size(regions: Tensor) -> tuple[int, int]:
    return regions.shape[1], regions.shape[2]
