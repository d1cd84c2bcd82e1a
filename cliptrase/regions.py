"""From clusters of patches to regions of pixels, and one answer per region. Imports torch and the median filter only.

Shapes: B batch, N = h * w patches, R regions (padded to the largest number in the batch), K classes, H W pixels.
Every image is treated as if it were alone: its answer does not depend on the rest of the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cliptrase.median import median_filter


def region_maps(correlation: Tensor, labels: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How strongly each patch belongs to each cluster: the mean of the rows of the cluster's members.

    Args:
        correlation: (B, N, N) recalibrated self-correlation of the patches.
        labels: (B, N) int64 cluster of each patch, numbered from 0; -1 for none.
        grid: (h, w) with h * w = N.

    Returns:
        maps (B, R, h, w) in the type of `correlation`, and valid (B, R) bool. R is the largest number of clusters in
        an image of the batch, at least 1; the maps of the clusters that an image lacks are zero and not valid.

    Raises:
        ValueError: the grid does not have N patches.
    """
    if grid[0] * grid[1] != labels.shape[1]:
        raise ValueError(f"a grid of {grid[0]} x {grid[1]} patches does not fit {labels.shape[1]} labels")
    numbers = torch.arange(max(1, int(labels.max()) + 1), device=labels.device)
    maps, valid = cluster_means(correlation, labels, numbers)
    return maps.unflatten(-1, grid), valid


def cluster_means(correlation: Tensor, labels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Means (B,C,N) of the rows of the members of the C clusters of these numbers, and which of these exist (B,C)."""
    # In float64 the order of summation, which depends on the batch, is lost in the final rounding.
    members = (labels.unsqueeze(1) == numbers[:, None]).double()
    sizes = members.sum(-1, keepdim=True)
    means = members @ correlation.double() / sizes.clamp(min=1)
    return means.to(correlation.dtype), sizes.squeeze(-1) > 0


def assign_regions(maps: Tensor, valid: Tensor, size: tuple[int, int], upsample: int = 4, median: int = 7) -> Tensor:
    """Give every pixel to the region whose smoothed map is largest there, patches without cluster included.

    Args:
        maps: (B, R, h, w) from `region_maps`.
        valid: (B, R) bool, the regions that exist.
        size: (H, W) in pixels of the answer.
        upsample: the maps are smoothed at this multiple of the patch grid.
        median: side of the median filter there, odd.

    Returns:
        (B, H, W) int64 region of each pixel, the smallest of equals; -1 everywhere in an image without regions.
    """
    height, width = maps.shape[-2:]
    maps = F.interpolate(maps, size=(upsample * height, upsample * width), mode="bilinear", align_corners=False)
    maps = F.interpolate(median_filter(maps, median), size=size, mode="bilinear", align_corners=False)
    # On a CPU this is 25 times quicker than argmax, which finds the same.
    regions = maps.masked_fill_(~valid[:, :, None, None], -torch.inf).max(dim=1).indices
    return regions.masked_fill_(~valid.any(1)[:, None, None], -1)


def vote(labels: Tensor, regions: Tensor, num_classes: int) -> Tensor:
    """Let the pixels of a region vote on their class.

    Args:
        labels: (B, H, W) int64 class of each pixel, in [0, K).
        regions: (B, H, W) int64 region of each pixel, numbered from 0; -1 for none.
        num_classes: K.

    Returns:
        (B, K, H, W) float32: the share of the pixel's region that voted for each class, summing to 1 over the classes.
        Their argmax is the majority, of equals the smallest class. A pixel without region votes alone.

    Raises:
        ValueError: a label outside [0, K).
    """
    shares, alone = _shares(labels, regions, num_classes)
    alone_share = alone.to(shares.dtype).unsqueeze(1)
    return _spread(shares.mT, regions).scatter_add_(1, labels.unsqueeze(1), alone_share)


def majority(labels: Tensor, regions: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The first highest class of `vote` and its share, each (B, H, W), without the shares of all classes everywhere."""
    shares, alone = _shares(labels, regions, num_classes)
    share, winner = shares.max(-1)
    slot = (regions + 1).flatten(1)
    winner, share = (values.gather(1, slot).view_as(labels) for values in (winner, share))
    return labels.where(alone, winner), share.masked_fill_(alone, 1)


def _shares(labels: Tensor, regions: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """(B, 1 + R, K) what share of each region voted for each class, 0 for "no region"; (B, H, W) what has no region."""
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest < 0 or largest >= num_classes:
        raise ValueError(
            f"labels are {smallest} to {largest}, but must be 0 to {num_classes - 1}, the {num_classes} classes"
        )
    batch = labels.shape[0]
    slots = int(regions.max()) + 2  # slot 0 gathers the pixels without region
    image = torch.arange(batch, device=labels.device)[:, None, None]
    ballots = ((image * slots + regions + 1) * num_classes + labels).flatten()
    counts = torch.bincount(ballots, minlength=batch * slots * num_classes).view(batch, slots, num_classes)
    shares = (counts / counts.sum(-1, keepdim=True).clamp(min=1)).float()
    shares[:, 0] = 0
    return shares, regions < 0


def _spread(values: Tensor, regions: Tensor) -> Tensor:
    """(B, K, H, W): the entry of `values` (B, K, 1 + R) for the region of each pixel, entry 0 for no region."""
    slot = (regions + 1).flatten(1).unsqueeze(1).expand(-1, values.shape[1], -1)
    return values.gather(2, slot).unflatten(2, regions.shape[1:])
