"""Spatial aggregation: shifted-window attention over the places of each class, guided by the view. Plain torch.

CAT-Seg (CVPR 2024); windows after Swin (Liu et al., ICCV 2021), without relative position bias.
Shapes: B views, T classes, C width, G guidance width, H heads, s window side, n = s*s, h w grid, V = h*w/n windows.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cat_seg.guidance import guided

# Added to the attention of places that are neighbours only because the grid was rolled.
MASKED = -100.0


def shift_mask(grid: tuple[int, int], window: int, shift: int, device: torch.device) -> Tensor:
    """(V,n,n) to add to the attention of a grid rolled by `shift`: 0 within a region, MASKED between regions.

    Rolling brings `shift` rows and columns from the far side into the last windows; these form regions of their own.
    """
    row, column = (
        (torch.arange(side, device=device) >= side - window).long()
        + (torch.arange(side, device=device) >= side - shift).long()
        for side in grid
    )
    regions = (3 * row[:, None] + column).view(1, 1, *grid, 1)
    labels = to_windows(regions, window, heads=1).flatten(1)[0].view(-1, window * window)
    return torch.where(labels[:, :, None] == labels[:, None, :], 0.0, MASKED)


class Windows(NamedTuple):
    """How a grid is tiled, the same in every layer of a pass.

    `side` is in places. `mask` (1,V*H,n,n) is added to the attention of windows shifted by half their side; None: they
    are not shifted.
    """

    side: int
    mask: Tensor | None


def lay_windows(grid: tuple[int, int], window: int, heads: int, like: Tensor) -> Windows:
    """Windows of `window` places on a side for a grid; the mask has the type and device of `like`.

    A grid no larger than a window, on either side, has windows of that side, and they are not shifted.

    Raises:
        ValueError: windows do not tile the grid.
    """
    side = min(window, *grid)
    if grid[0] % side or grid[1] % side:
        raise ValueError(f"a grid of {grid[0]} x {grid[1]} patches cannot be tiled by windows of {side}")
    if min(grid) <= window:
        return Windows(side, None)
    mask = shift_mask(grid, side, side // 2, like.device).to(like.dtype)
    return Windows(side, mask.repeat_interleave(heads, dim=0)[None])


def to_windows(x: Tensor, window: int, heads: int) -> Tensor:
    """(B,T,h,w,C) -> (B*T, V*H, n, C/H)"""
    rows, columns = x.shape[2] // window, x.shape[3] // window
    split = x.reshape(-1, rows, window, columns, window, heads, x.shape[-1] // heads)
    return split.permute(0, 1, 3, 5, 2, 4, 6).reshape(len(split), rows * columns * heads, window * window, -1)


def from_windows(windows: Tensor, shape: torch.Size, window: int, heads: int) -> Tensor:
    """The inverse of `to_windows`, for a result of `shape` (B,T,h,w,C)."""
    rows, columns = shape[2] // window, shape[3] // window
    split = windows.view(-1, rows, columns, heads, window, window, shape[-1] // heads)
    return split.permute(0, 1, 4, 2, 5, 3, 6).reshape(shape)


class WindowAttention(nn.Module):
    """Attention within windows; query and key see the guidance, the value does not."""

    def __init__(self, *, width: int, guidance_width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width + guidance_width, width)
        self.k = nn.Linear(width + guidance_width, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, guidance: Tensor, windows: Windows) -> Tensor:
        """x (B,T,h,w,C), guidance (B,1,h,w,G) -> (B,T,h,w,C)"""
        parts = [guided(self.q, x, guidance), guided(self.k, x, guidance), self.v(x)]
        side, mask = windows
        shift = 0 if mask is None else side // 2
        if shift:
            parts = [part.roll((-shift, -shift), dims=(2, 3)) for part in parts]
        query, key, value = (to_windows(part, side, self.heads) for part in parts)
        if mask is not None:
            mask = mask.to(query.dtype)  # mixed precision: of the linear maps' results
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        merged = from_windows(attended, x.shape, side, self.heads)
        return self.proj(merged.roll((shift, shift), dims=(2, 3)) if shift else merged)


class SwinBlock(nn.Module):
    """Pre-norm window attention and MLP, each added to its input."""

    def __init__(self, *, width: int, guidance_width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width=width, guidance_width=guidance_width, heads=heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, guidance: Tensor, windows: Windows) -> Tensor:
        x = x + self.attn(self.norm1(x), guidance, windows)
        return x + self.mlp(self.norm2(x))


class SpatialLayer(nn.Module):
    """A block with plain windows, then one with windows shifted by half."""

    def __init__(self, *, width: int, guidance_width: int, heads: int):
        super().__init__()
        self.guidance_norm = nn.LayerNorm(guidance_width)
        self.blocks = nn.ModuleList(
            SwinBlock(width=width, guidance_width=guidance_width, heads=heads) for _ in range(2)
        )

    def forward(self, x: Tensor, guidance: Tensor, windows: Windows) -> Tensor:
        """Aggregate (B,T,h,w,C) over places under guidance (B,h,w,G)."""
        guidance = self.guidance_norm(guidance).unsqueeze(1)
        plain, shifted = self.blocks
        return shifted(plain(x, guidance, windows._replace(mask=None)), guidance, windows)
