"""The winning class of every pixel, without the scores of every pixel. Plain torch; knows no model.

Scores of all classes at a picture's size are what fills memory and time: 847 classes of a photo are gigabytes, of
which only the largest value at each pixel is wanted. The labels are those of `resize(scores, size).argmax(1)` exactly,
ties included.

Shapes: B batch, T rows of text, K classes, h w resolution of the model's scores, H W that of the answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows whose full-size scores exist at once: small enough to stay in a CPU's cache between resize and comparison.
ROWS_AT_ONCE = 16
# Share of rows that may win, on average over places, up to which it is quicker to look for them (measured).
SHARE_WORTH_PRUNING = 1 / 8
VALUES_AT_ONCE = 2**20  # of all that may win, interpolated at once: bounds memory, whatever the size of the picture
NOTHING = -1e30  # what a row scores where it is no candidate


def answered_labels(answer: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Class and score (H,W) of every pixel in a segmentor's answer: "labels" and "scores", or "sem_seg" (K,H,W)."""
    if "labels" in answer:
        return answer["labels"], answer["scores"]
    score, label = answer["sem_seg"].max(dim=0)
    return label, score


def first_maximum(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Index and value (B,H,W) of the largest of T rows that come in parts (B,t,H,W), of equals the first."""
    best = winner = torch.empty(0)
    start = 0
    for part in parts:
        value, index = part.max(dim=1)
        if start:
            winner = torch.where(value > best, index.add_(start), winner)
            best = torch.maximum(best, value)
        else:
            best, winner = value, index
        start += part.shape[1]
    return winner, best


def in_class_order(scores: Tensor, classes: Tensor | None, dim: int = 1) -> tuple[Tensor, Tensor]:
    """Rows, along `dim`, sorted by class, and the class (T,) of each: of equal rows the first has the least class.

    `classes` (T,) as in `ovss.inference.merge_rows`; None: every row is its own class.
    """
    if classes is None:
        return scores, torch.arange(scores.shape[dim], device=scores.device)
    ordered, order = classes.to(scores.device).sort(stable=True)
    if torch.equal(order, torch.arange(len(order), device=order.device)):
        return scores, ordered
    return scores.index_select(dim, order), ordered


def resize(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinearly resize scores (B,T,h,w) to (B,T,H,W), every row alone: equal rows stay equal, and rows left out or
    put in change no other.

    What torch makes of a value on a CPU depends, in its last bit, on the place of the value in the tensor.
    """
    if scores.device.type != "cpu":
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    one = partial(F.interpolate, size=size, mode="bilinear", align_corners=False)
    rows = (one(row[None, None])[0, 0] for row in scores.flatten(0, 1))
    if scores.requires_grad:
        return torch.stack(list(rows)).unflatten(0, scores.shape[:2])
    full = scores.new_empty(*scores.shape[:2], *size)
    for row, answer in zip(rows, full.flatten(0, 1), strict=True):
        answer.copy_(row)
    return full


def resized(scores: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Scores (B,T,h,w) at full size, a few rows (B,t,H,W) at a time."""
    for part in scores.split(ROWS_AT_ONCE, dim=1):
        yield resize(part, size)


def resized_labels(scores: Tensor, size: tuple[int, int], classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Class and score (B,H,W) of the best row at every pixel of the bilinearly resized scores (B,T,h,w).

    Equals `merge_rows(resize(scores, size), classes).max(1)`: classes exactly, scores up to rounding.
    """
    scores, classes = in_class_order(scores, classes)
    if not _can_prune(scores, size):
        rows, best = first_maximum(resized(scores, size))
        return classes[rows], best
    answers = [_pruned(score, size) for score in scores]
    rows, best = (torch.stack(values) for values in zip(*answers, strict=True))
    return classes[rows], best


def _can_prune(scores: Tensor, size: tuple[int, int]) -> bool:
    """Whether leaving rows out may pay: where scores are enlarged on a CPU (a GPU is done before it knows which)."""
    height, width = scores.shape[-2:]
    enlarged = size[0] * size[1] >= 4 * height * width
    plain = scores.dtype == torch.float32 and scores.device.type == "cpu"
    return plain and enlarged and min(height, width) > 1 and float(scores.abs().max()) < -NOTHING / 2


def _pruned(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Best row and score (H,W) of resized scores (T,h,w), looking only at rows that can win.

    A resized value lies between the four scores around it. So in each cell of the coarse grid a row whose largest
    corner is below another row's smallest corner cannot win; few rows are left, and only their values are computed.
    Where these are closer than rounding can tell, rows are resized as the whole would have been, and decide.
    """
    height, width = scores.shape[-2:]
    tolerance = float(8 * torch.finfo(scores.dtype).eps * scores.abs().max())
    with one_thread():
        row, cell = _candidates(scores, tolerance)
    if len(row) > SHARE_WORTH_PRUNING * len(scores) * (height - 1) * (width - 1):
        winner, best = first_maximum(resized(scores[None], size))
        return winner[0], best[0]
    with one_thread():
        winner, best, unsure, rivals = _compare(scores, row, cell, size, tolerance)
        if len(rivals):
            parts = (part[..., unsure] for part in resized(scores[None, rivals], size))
            winner[unsure] = rivals[first_maximum(parts)[0][0]]
    return winner, best


@contextmanager
def one_thread() -> Iterator[None]:
    """For many small steps on a CPU: several threads save little there, and on a busy machine cost a hundredfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _compare(
    scores: Tensor, row: Tensor, cell: Tensor, size: tuple[int, int], tolerance: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best candidate of each pixel and its score (H,W), the pixels (H,W) where rounding may have decided, and the
    rows that are so close anywhere, in order.
    """
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
