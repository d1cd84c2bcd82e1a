"""The winning class of every pixel, without the scores of every pixel. Plain torch; knows no model.

Scores of all classes at a picture's size are what fills memory and time: 847 classes of a photo are gigabytes, of
which only the largest value at each pixel is wanted. The labels are those of `resize(scores, size).argmax(1)` exactly,
ties included.

Shapes: B batch, T rows of text, K classes, h w resolution of the model's scores, H W that of the answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss.pruning import can_prune, compare_candidates
from ovss.threads import one_thread

# Rows whose full-size scores exist at once: small enough to stay in a CPU's cache between resize and comparison.
ROWS_AT_ONCE = 16
# Rows up to which one pass for both the largest and its index is the quickest (measured).
FEW_ROWS = 256
# Pixels of whole scores that are looked at at once, for the same reason.
PIXELS_AT_ONCE = 2**14


def answered_labels(answer: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Class and score (H,W) of every pixel in a segmentor's answer: "labels" and "scores", or "sem_seg" (K,H,W)."""
    if "labels" in answer:
        return answer["labels"], answer["scores"]
    return winners(answer["sem_seg"])


def winners(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Index and value (H,W) of the largest of whole scores (K,H,W), of equals the first.

    Of many rows a CPU finds the largest quickly and its index slowly: that is looked for among the best few rows alone.
    """
    if scores.device.type != "cpu" or len(scores) <= FEW_ROWS:
        best, winner = scores.max(dim=0)
        return winner, best
    flat = scores.flatten(1)
    best, winner = flat.new_empty(flat.shape[1]), torch.empty(flat.shape[1], dtype=torch.int64)
    for start in range(0, flat.shape[1], PIXELS_AT_ONCE):
        pixels = slice(start, start + PIXELS_AT_ONCE)
        tops = torch.stack([rows.amax(0) for rows in flat[:, pixels].split(ROWS_AT_ONCE)])
        best[pixels], group = tops.max(0)
        rows = (group * ROWS_AT_ONCE + torch.arange(ROWS_AT_ONCE)[:, None]).clamp_(max=len(flat) - 1)
        values = flat[:, pixels].gather(0, rows)
        first = ((values == best[pixels]) | values.isnan()).byte().argmax(0)
        winner[pixels] = rows[0] + first
    return winner.view_as(scores[0]), best.view_as(scores[0])


def first_maximum(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Index and value (B,H,W) of the largest of T rows that come in parts (B,t,H,W), of equals the first."""
    best = winner = torch.empty(0)
    start = 0
    for part in parts:
        # Of one row, which is what a CPU is given of a sliding window, the search takes longer than all else here.
        value, index = part.max(dim=1) if part.shape[1] > 1 else (part[:, 0], torch.tensor(0, device=part.device))
        if start:
            winner = torch.where(value > best, index + start, winner)
            best = torch.maximum(best, value)
        else:
            best, winner = value, index.expand_as(value)
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
    if scores.device.type != "cpu" or scores.shape[:2].numel() == 1:
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
    if not can_prune(scores, size):
        rows, best = first_maximum(resized(scores, size))
        return classes[rows], best
    answers = [_pruned(score, size) for score in scores]
    rows, best = (torch.stack(values) for values in zip(*answers, strict=True))
    return classes[rows], best


def _pruned(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Best row and score (H,W) of resized scores (T,h,w), looking only at rows that can win.

    Where these are closer than rounding can tell, rows are resized as the whole would have been, and decide.
    """
    with one_thread():
        found = compare_candidates(scores, size)
        if found is not None:
            winner, best, unsure, rivals = found
            if len(rivals):
                parts = (part[..., unsure] for part in resized(scores[None, rivals], size))
                winner[unsure] = rivals[first_maximum(parts)[0][0]]
            return winner, best
    winner, best = first_maximum(resized(scores[None], size))
    return winner[0], best[0]


def enlarge(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Labels or scores (h,w) at `size`, the nearest ones: labels must not be mixed, scores stay with them."""
    if values.shape == size:
        return values
    rows, columns = (
        ((torch.arange(new, device=values.device) + 0.5) * old / new).long()
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[rows[:, None], columns]
