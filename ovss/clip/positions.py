"""Position embeddings of a ViT for another patch grid. Every method resizes them its own way. Plain torch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_positions(table: Tensor, grid: tuple[int, int], method: str = "bicubic") -> Tensor:
    """Resize the patch part of a position table (1 + n*n, W) to a grid (h, w); the class token's row is kept.

    Methods, all bicubic with align_corners=False; a table that already has this grid is returned as it is:
        "bicubic"    to the exact size (CAT-Seg, at every forward pass).
        "antialias"  the same with antialiasing (open_clip, once at load).
        "offset"     by the factor (h + 0.1) / n, which samples at steps of n / (h + 0.1) instead of n / h
                     (DINO's guard against rounding, kept by CLIPtrase: part of its published figures).

    Returns: (1 + h*w, W).
    """
    side = round((table.shape[0] - 1) ** 0.5)
    if side * side != table.shape[0] - 1:
        raise ValueError(f"a position table needs 1 + n*n rows, this one has {table.shape[0]}")
    if grid == (side, side):
        return table
    patches = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if method == "offset":
        factors = tuple((length + 0.1) / side for length in grid)
        resized = F.interpolate(patches, scale_factor=factors, mode="bicubic", align_corners=False)
    elif method in ("bicubic", "antialias"):
        resized = F.interpolate(
            patches, size=grid, mode="bicubic", align_corners=False, antialias=method == "antialias"
        )
    else:
        raise ValueError(f"unknown way to resize position embeddings {method!r}; known: bicubic, antialias, offset")
    assert resized.shape[-2:] == grid
    return torch.cat([table[:1], resized.flatten(2)[0].T])
