"""CLIPtrase in a form that a trace can hold: clusters, regions and votes without sizes and loops that depend on values.

Every step is the eager one where it can be and else equals it. Imports `ovss` and torch.

Shapes: B batch, T rows of text, K classes, N = h*w patches, R clusters that there may be, H W pixels.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cliptrase.dbscan import dbscan, smallest
from cliptrase.median import filter_together
from cliptrase.regions import cluster_means
from cliptrase.static_means import StaticMeans, spread
from ovss.static import Merge, resize, without_text_tower

if TYPE_CHECKING:
    from cliptrase.model import CLIPtrase, Regions

# Clusters whose maps are smoothed together, at most: it bounds memory, but each group has its own steps in the trace.
CLUSTERS_AT_ONCE = 128


class StaticCLIPtrase(nn.Module):
    """See `DenseModel.static_form`: images (B,3,H,W) to scores (B,K,H,W)."""

    text: Tensor

    def __init__(self, model: "CLIPtrase", text: Tensor, classes: Tensor, size: tuple[int, int]):
        super().__init__()
        self.model = without_text_tower(model)
        self.size = size
        self.register_buffer("text", text)
        self.merge = Merge(classes)
        height, width = (int(side * model.input_scale) // model.clip.visual.patch_size for side in size)
        self.clusters = most_clusters(height * width, model.regions.min_points)
        self.means = StaticMeans(classes, (height, width), size, self.clusters) if model.fusion == "mean" else None

    def forward(self, images: Tensor) -> Tensor:
        features, correlation = self.model.encode(images)
        logits = self.model.patch_logits(features, self.text)
        scores = self.merge(resize(logits, self.size))
        if correlation is None:
            return scores
        regions = static_regions(correlation, features.grid, self.size, self.model.regions, self.clusters)
        if self.means is not None:
            return self.means(logits, scores, regions)
        return static_vote(scores.max(dim=1).indices, regions, self.merge.count, self.clusters)


def most_clusters(points: int, min_points: int) -> int:
    """The most clusters that DBSCAN may find among so many points, at least 1.

    The core point of a cluster has `min_points - 1` others within reach: core points of this cluster, or points on its
    border. Such a point is no core and so within reach of at most `min_points - 2` others, in as many clusters.
    """
    if min_points <= 2:  # none is on a border
        return max(points // min_points, 1)
    return max(points * (min_points - 2) // (2 * min_points - 3), 1)


def static_dbscan(points: Tensor, eps: float, min_points: int) -> Tensor:
    """`cliptrase.dbscan.dbscan`, in as many steps for every set of N points."""
    return dbscan(points, eps, min_points, _first_reachable)


def _first_reachable(near: Tensor, core: Tensor) -> Tensor:
    """`cliptrase.dbscan.first_reachable` by squaring: from pairs that are joined by 2^k steps to those by 2^(k+1)."""
    count = near.shape[-1]
    joined = (near & core.unsqueeze(1) & core.unsqueeze(2)).float()  # every core point is joined to itself
    for _ in range((count - 1).bit_length()):
        joined = (joined @ joined).clamp(max=1)
    return smallest(joined > 0, torch.arange(count, device=near.device).expand_as(core))


def static_regions(
    correlation: Tensor, grid: tuple[int, int], size: tuple[int, int], regions: "Regions", clusters: int
) -> Tensor:
    """`CLIPtrase.regions_of`: region (B,H,W) of every pixel, looking at a few of all possible clusters at a time."""
    labels = static_dbscan(correlation, regions.eps, regions.min_points)
    best = region = None
    at_once = -(-clusters // -(-clusters // CLUSTERS_AT_ONCE))  # groups of one size
    for start in range(0, clusters, at_once):
        numbers = torch.arange(start, min(start + at_once, clusters), device=labels.device)
        means, valid = cluster_means(correlation, labels, numbers)
        maps = _smoothed(means.unflatten(-1, grid), size, regions).masked_fill(~valid[:, :, None, None], -torch.inf)
        value, index = maps.max(dim=1)
        if best is None or region is None:
            best, region = value, index
        else:
            region = torch.where(value > best, index + start, region)
            best = torch.maximum(value, best)
    assert region is not None
    return torch.where((labels >= 0).any(1)[:, None, None], region, -1)


def _smoothed(maps: Tensor, size: tuple[int, int], regions: "Regions") -> Tensor:
    """Maps (B,C,h,w) as `cliptrase.regions.assign_regions` compares them: (B,C,H,W)."""
    fine = (regions.upsample * maps.shape[2], regions.upsample * maps.shape[3])
    filtered = filter_together(resize(maps, fine).flatten(0, 1), regions.median)
    return resize(filtered.unflatten(0, (-1, maps.shape[1])), size)


def static_vote(labels: Tensor, regions: Tensor, classes: int, clusters: int) -> Tensor:
    """`cliptrase.regions.vote` of labels (B,H,W), in [0,K), over at most R regions (B,H,W): shares (B,K,H,W)."""
    ballots = ((regions + 1) * classes + labels).flatten(1)  # the first ones are of pixels without region
    empty = torch.zeros(labels.shape[0], (1 + clusters) * classes, device=labels.device)
    counts = empty.scatter_add(1, ballots, torch.ones_like(ballots, dtype=empty.dtype)).unflatten(1, (-1, classes))
    shares = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    # Behind the regions one row for each class: what a pixel without region, which votes alone, has voted for.
    alone = torch.eye(classes, device=labels.device).expand(labels.shape[0], -1, -1)
    rows = torch.where(regions < 0, clusters + labels, regions)
    return spread(torch.cat([shares[:, 1:], alone], dim=1), rows)
