"""Which rows of coarse scores can win at a pixel of the resized ones, and what they score there. Plain torch, on a CPU.

A resized value lies between the four scores around it. So in each cell of the coarse grid a row whose largest corner
is below another row's smallest corner cannot win; few rows are left, and only their values are computed.

Shapes: T rows of text, h w resolution of the model's scores, H W that of the answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Share of rows that may win, on average over places, up to which it is quicker to look for them (measured).
SHARE_WORTH_PRUNING = 1 / 8
VALUES_AT_ONCE = 2**20  # of all that may win, interpolated at once: bounds memory, whatever the size of the picture
NOTHING = -1e30  # what a row scores where it is no candidate


def can_prune(scores: Tensor, size: tuple[int, int]) -> bool:
    """Whether leaving rows out may pay: where scores are enlarged on a CPU (a GPU is done before it knows which)."""
    height, width = scores.shape[-2:]
    enlarged = size[0] * size[1] >= 4 * height * width
    plain = scores.dtype == torch.float32 and scores.device.type == "cpu"
    return plain and enlarged and min(height, width) > 1 and float(scores.abs().max()) < -NOTHING / 2


def compare_candidates(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Best row of scores (T,h,w) and its score at every pixel (H,W), looking only at rows that can win.

    Returns: both, the pixels (H,W) where rounding may have decided, and the rows that are so close anywhere, in order.
        None where so many rows can win that it is quicker to resize all.
    """
    height, width = scores.shape[-2:]
    tolerance = float(8 * torch.finfo(scores.dtype).eps * scores.abs().max())
    row, cell = _candidates(scores, tolerance)
    if len(row) > SHARE_WORTH_PRUNING * len(scores) * (height - 1) * (width - 1):
        return None
    return _compare(scores, row, cell, size, tolerance)


def _compare(
    scores: Tensor, row: Tensor, cell: Tensor, size: tuple[int, int], tolerance: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `compare_candidates` returns, of the rows that may win in each cell."""
    height, width = scores.shape[-2:]
    (top, down), (left, across) = _weights(height, size[0]), _weights(width, size[1])
    count = torch.bincount(cell, minlength=(height - 1) * (width - 1)).view(height - 1, width - 1)
    first = (count.flatten().cumsum(0) - count.flatten()).view_as(count)
    winner = torch.empty(size, dtype=torch.int64)
    best, unsure = scores.new_empty(size), torch.empty(size, dtype=torch.bool)
    rivals = [row[:0]]
    step = max(VALUES_AT_ONCE // (int(count.max()) * size[1]), 1)
    for start in range(0, size[0], step):
        band = slice(start, min(start + step, size[0]))
        cells = slice(int(top[band.start]), int(top[band.stop - 1]) + 1)
        table, corners = _corners(scores[:, cells.start : cells.stop + 1], row, first[cells], count[cells])
        above, below = (torch.lerp(near[..., left], far[..., left], across) for near, far in corners)
        which = top[band] - cells.start
        values = torch.lerp(above[:, which], below[:, which], down[band, None])
        best[band], index = values.max(dim=0)
        winner[band] = table[index, which[:, None], left]
        nearly = best[band] - 2 * tolerance
        unsure[band] = values.scatter_(0, index[None], -torch.inf).amax(0) >= nearly
        y, x = unsure[band].nonzero(as_tuple=True)
        rivals += [winner[band][y, x].unique(), table[:, which[y], left[x]][values[:, y, x] >= nearly[y, x]].unique()]
    return winner, best, unsure, torch.cat(rivals).unique()


def _corners(scores: Tensor, row: Tensor, first: Tensor, count: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
    """Candidates of some rows of cells as a table, and their four scores in its cells.

    Args:
        scores: (T,c+1,w) around c rows of cells.
        row: rows that may win, cell by cell; first, count: (c,w-1) where a cell's begin in it, and how many they are.

    Returns: the table (R,c,w-1), R the largest count, and as many scores of each corner: above and below, of each left
        and right. Where a cell has fewer than R, the rest score `NOTHING`.
    """
    rank = torch.arange(int(count.max()))[:, None, None]
    table = row[(first + rank).clamp_(max=len(row) - 1)]
    y, x = torch.arange(count.shape[0])[:, None], torch.arange(count.shape[1])
    spent = rank >= count
    corners = [[scores[table, y + dy, x + dx].masked_fill_(spent, NOTHING) for dx in (0, 1)] for dy in (0, 1)]
    return table, corners


def _weights(old: int, new: int) -> tuple[Tensor, Tensor]:
    """For each of `new` places along a side, the first of the two of `old` around it and the weight of the second.

    Read off what torch makes of single ones, so that they are torch's own to the last bit.
    """
    ones = torch.eye(old).unsqueeze(-1).expand(-1, -1, 2)[None]
    weights = F.interpolate(ones, size=(new, 2), mode="bilinear", align_corners=False)[0, :, :, 0]
    first = (weights > 0).int().argmax(0).clamp(max=old - 2)
    return first, weights[first + 1, torch.arange(new)]


def _candidates(scores: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Row and cell of all pairs where the row of scores (T,h,w) may win in the cell; by cell, then by row."""
    upper = torch.maximum(scores[:, :-1], scores[:, 1:])
    upper = torch.maximum(upper[..., :-1], upper[..., 1:])
    lower = torch.minimum(scores[:, :-1], scores[:, 1:])
    lower = torch.minimum(lower[..., :-1], lower[..., 1:])
    row, cell = (upper >= lower.amax(0) - 2 * tolerance).flatten(1).nonzero(as_tuple=True)
    cell, order = cell.sort(stable=True)
    return row[order], cell
