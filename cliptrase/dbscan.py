"""Density clustering (DBSCAN) of many small point sets at once, in torch. Imports torch only.

scikit-learn clusters one array on the CPU; this gives the same labels for a whole batch, on the device of the points.
Shapes: B batch, N points, F features of a point.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def dbscan(
    points: Tensor, eps: float, min_points: int, reach: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Tensor:
    """Cluster each of the B point sets by density (Ester et al., KDD 1996), Euclidean.

    A point with at least `min_points` points within `eps`, itself among them, is a core point; core points within
    `eps` of each other share a cluster; another point within `eps` of a core point is on the border of its cluster.

    Args:
        points: (B, N, F), floating; best on the scale of `eps`, as distances are differences of squared lengths.
        eps: largest distance of neighbours, > 0.
        min_points: neighbours that make a core point, at least 1.
        reach: does what `first_reachable` does, the default, another way.

    Returns:
        (B, N) int64: the cluster of each point, -1 for noise. Clusters are numbered from 0 by their first core point
        in the order of the points; a point on the border of several belongs to the lowest-numbered one. This is
        scikit-learn's `DBSCAN(eps, min_samples=min_points)` label for label.

    Raises:
        ValueError: points of another shape, `eps` not above 0 or `min_points` below 1.
    """
    if points.dim() != 3:
        raise ValueError(f"points must have the shape (B, N, F), not {tuple(points.shape)}; one set is points[None]")
    if not eps > 0 or min_points < 1:
        raise ValueError(f"eps must be above 0 and min_points at least 1, not {eps} and {min_points}")
    near = _neighbours(points, eps)
    core = near.sum(-1) >= min_points
    roots = (reach or first_reachable)(near, core)
    none = points.shape[1]
    first = smallest(near, roots)  # for a core point its own root, which all core points near it share
    is_root = core & (roots == torch.arange(none, device=points.device))
    number = is_root.cumsum(-1) - 1
    noise = first == none
    return number.gather(1, first.masked_fill(noise, 0)).masked_fill(noise, -1)


def _neighbours(points: Tensor, eps: float) -> Tensor:
    """(B, N, N) bool: which pairs are within `eps` of each other; a point is within `eps` of itself."""
    # As scikit-learn above 15 features: products in float64, but eps squared in the precision of the points. Anything
    # else moves some pairs across the threshold.
    limit = torch.tensor(eps, dtype=torch.promote_types(points.dtype, torch.float32)).square()
    points = points.double()
    products = points @ points.mT
    lengths = products.diagonal(dim1=1, dim2=2)
    return lengths.unsqueeze(1) + lengths.unsqueeze(2) - 2 * products <= limit


def smallest(near: Tensor, values: Tensor) -> Tensor:
    """(B, N): the smallest of the `values` (B, N) among the neighbours of each point, at most N."""
    return torch.where(near, values.unsqueeze(1), near.shape[-1]).amin(-1)


def first_reachable(near: Tensor, core: Tensor) -> Tensor:
    """(B, N): for a core point, the first core point that a chain of core points connects to it; N for the others.

    Labels only shrink. Each round takes the smallest label among the neighbours, hands it to the former root, and
    then follows the pointers once, so that distances to the root about halve and long chains take few rounds.
    """
    count = near.shape[-1]
    labels = torch.where(core, torch.arange(count, device=near.device), count)
    while True:
        new = torch.where(core, smallest(near, labels), count)
        # A column of its own keeps "no core point" (the value N) a valid pointer, to itself.
        new = torch.nn.functional.pad(new, (0, 1), value=count)
        new = new.scatter_reduce(1, labels, new[:, :count], "amin")
        new = new.gather(1, new)[:, :count]
        if torch.equal(new, labels):
            return labels
        labels = new
