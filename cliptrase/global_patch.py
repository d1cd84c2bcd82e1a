"""CLIPtrase's finding, measured (ECCV 2024, section 3): late in CLIP nearly every patch attends to the same few.

These "global patches" carry what the picture is about as a whole and drown what each place shows; the recalibrated
self-correlation gives the view of the single patch back. Plain torch.
Shapes: Q queries, h w patch grid, N = h*w, H heads, L = 1 + N tokens (class token first), d head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cliptrase.correlation import recalibrate, self_correlation
from cliptrase.model import CLIPtrase
from ovss.clip.transformer import ResidualBlock
from ovss.inference import fit

if TYPE_CHECKING:
    from ovss.predictor import Predictor

# The block whose correlation CLIPtrase takes its regions from. All blocks up to it run as CLIP was trained, so that
# "before" and "after" are two readings of the same q, k and v.
BLOCK = -2
TOP = 0.05


@dataclass(frozen=True)
class GlobalPatchMaps:
    """What query patches look at in one picture.

    `before` (Q,h,w): CLIP's own attention, mean over heads of softmax(q k' / sqrt(d)). In [0,1]; a map sums to at most
        1, as the class token takes its part.
    `after` (Q,h,w): rows of the recalibrated self-correlation, in [0,2].
    `class_attention` (h,w): what the class token attends to, as `before`.
    `overlap_before`, `overlap_after`: `top_overlap` of the maps of all N patches, not of the queries alone.
    """

    before: Tensor
    after: Tensor
    class_attention: Tensor
    overlap_before: float
    overlap_after: float


def keep_attention_and_correlation(block: ResidualBlock, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Block rule: run the block as it is, keep its attention (mean over heads) and self-correlation, each (B,L,L)."""
    query, key, value = block.query_key_value(x)
    attention = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
    return block.output(x, attention @ value), (attention.mean(dim=1), self_correlation(query, key, value))


def look(
    predictor: "Predictor", image: np.ndarray, points: Sequence[tuple[int, int]], name: str = "the picture"
) -> GlobalPatchMaps:
    """The maps of the patches that hold points of a picture, from the CLIP of a predictor of CLIPtrase.

    Args:
        image: (H,W,3) uint8 RGB.
        points: Q pairs (x, y), pixels of the picture.
        name: what messages call the picture.

    Raises:
        ValueError: a point outside the picture, a picture of a single patch, or a predictor of another system.
    """
    height, width = image.shape[:2]
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"point {x},{y} is outside {name}, which is {width} x {height} pixels (x, y from 0)")
    model, pixels, grid = _patches(predictor, image)
    return global_patch_maps(model, pixels[None], [patch_at((y, x), (height, width), grid) for x, y in points])


def patch_grid(predictor: "Predictor", image: np.ndarray) -> tuple[int, int]:
    """The (h,w) of the maps that `look` would give of a picture (H,W,3) uint8."""
    return _patches(predictor, image)[2]


def _patches(predictor: "Predictor", image: np.ndarray) -> tuple[CLIPtrase, Tensor, tuple[int, int]]:
    """The model, what it takes of a picture, (3,h*p,w*p) in [0,1], and the patch grid (h,w)."""
    model = getattr(predictor.segmentor, "model", None)
    if not isinstance(model, CLIPtrase):
        name = type(predictor.segmentor).__name__
        raise ValueError(f"the config builds a {name}, but this picture is of CLIPtrase: take one of configs/cliptrase")
    mean, side = model.pixel_mean, model.size_divisibility
    resized = torch.from_numpy(np.ascontiguousarray(predictor.transform(image).transpose(2, 0, 1)))
    # Stretched, never padded: the maps must lie where the picture does.
    pixels = fit(resized.to(mean.device).float() / 255, side, "resize", mean)
    return model, pixels, (pixels.shape[1] // side, pixels.shape[2] // side)


@torch.no_grad()
def global_patch_maps(model: CLIPtrase, images: Tensor, queries: Sequence[tuple[int, int]]) -> GlobalPatchMaps:
    """Read off what the query patches of a picture look at, before and after recalibration.

    Args:
        model: only its CLIP, its way with position embeddings and its input scale matter.
        images: (1,3,H,W) RGB in [0,1], sides divisible by `model.size_divisibility`.
        queries: Q pairs (row, column) on the patch grid, see `patch_at`.

    Raises:
        ValueError: more than one picture, a picture of a single patch, or a query outside the grid.
    """
    if images.dim() != 4 or len(images) != 1:
        raise ValueError(f"images must have the shape (1, 3, H, W), not {tuple(images.shape)}: give one picture")
    features = model.clip.visual(
        model.prepare(images), positions=model.positions, rules={BLOCK: keep_attention_and_correlation}
    )
    height, width = features.grid
    for row, column in queries:
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"query patch ({row}, {column}) is outside the grid of {height} x {width} patches")
    attention, correlation = features.kept[BLOCK]
    before, after = attention[0, 1:, 1:], recalibrate(correlation)[0]
    index = [row * width + column for row, column in queries]
    return GlobalPatchMaps(
        before=before[index].unflatten(-1, features.grid),
        after=after[index].unflatten(-1, features.grid),
        class_attention=attention[0, 0, 1:].unflatten(-1, features.grid),
        overlap_before=top_overlap(before),
        overlap_after=top_overlap(after),
    )


def top_overlap(maps: Tensor) -> float:
    """Mean, over all pairs of maps (N,M), of the intersection over union of their top 5 % values above 0.

    1: all maps have their peaks in the same places. Independent places would give about 0.05 / 1.95 = 0.026; patches of
    one region rightly share theirs, so a good map is above that.

    Raises:
        ValueError: fewer than two maps.
    """
    count, places = maps.shape
    if count < 2:
        raise ValueError(f"overlap is that of pairs of maps, but there are {count}: take a picture of several patches")
    values, index = maps.topk(max(1, round(TOP * places)), dim=-1)
    peaks = torch.zeros_like(maps).scatter_(1, index, (values > 0).to(maps.dtype))
    shared = peaks @ peaks.T
    sizes = peaks.sum(-1)
    iou = shared / (sizes[:, None] + sizes - shared).clamp_min(1)
    return float((iou.sum() - iou.trace()) / (count * (count - 1)))


def spread_points(height: int, width: int) -> list[tuple[int, int]]:
    """Choose five places (row, column) over an area, one in each quarter and one in the middle, row by row, each once.

    The area is a picture in pixels or a patch grid; the smallest ones have fewer places.
    """
    quarters = [(1, 1), (1, 3), (2, 2), (3, 1), (3, 3)]
    return list(dict.fromkeys((height * row // 4, width * column // 4) for row, column in quarters))


def patch_at(point: tuple[int, int], size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """Patch (row, column) of `grid` (h,w) that holds the centre of pixel (row, column) of a picture of `size` (H,W)."""
    row, column = ((2 * p + 1) * patches // (2 * pixels) for p, pixels, patches in zip(point, size, grid, strict=True))
    return row, column
