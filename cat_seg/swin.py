"""Spatial aggregation: shifted-window attention over the places of each class, guided by the view. Plain torch.

CAT-Seg (CVPR 2024); windows after Swin (Liu et al., ICCV 2021), without relative position bias. Places are brought into
the order of the windows once a block, where windows are views: all else in a block is done place by place.

Shapes: B views, T classes, C width, G guidance width, H heads, s window side, n = s*s, h w grid, N = h*w places,
V = N/n windows.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cat_seg.guidance import own_columns, share_of_guidance

# Added to the attention of places that are neighbours only because the grid was rolled.
MASKED = -100.0


def shift_mask(grid: tuple[int, int], window: int, shift: int) -> Tensor:
    """(V,n,n) to add to the attention of a grid rolled by `shift`: 0 within a region, MASKED between regions.

    Rolling brings `shift` rows and columns from the far side into the last windows; these form regions of their own.
    """
    row, column = (
        (torch.arange(side) >= side - window).long() + (torch.arange(side) >= side - shift).long() for side in grid
    )
    regions = (3 * row[:, None] + column).flatten()
    labels = regions[window_order(grid, window)].view(-1, window * window)
    return torch.where(labels[:, :, None] == labels[:, None, :], 0.0, MASKED)


def window_order(grid: tuple[int, int], window: int, shift: int = 0) -> Tensor:
    """The places (N,) of a grid, which are numbered row by row, window by window; `shift` rolls the grid before."""
    places = torch.arange(grid[0] * grid[1]).view(grid).roll((-shift, -shift), dims=(0, 1))
    rows, columns = grid[0] // window, grid[1] // window
    return places.view(rows, window, columns, window).transpose(1, 2).flatten()


class Windows(NamedTuple):
    """How a grid is tiled, the same in every layer of a pass.

    `split` is (V,n). `into` (N,) picks the places window by window; `across`, from that order, those of windows shifted
    by half their side; `back` undoes both. `masks` holds of each shifted window (n,n) to add to its attention, or None
    where there is nothing to add; the whole is None where windows are not shifted.
    """

    split: tuple[int, int]
    into: Tensor
    across: Tensor
    back: Tensor
    masks: tuple[Tensor | None, ...] | None


def lay_windows(grid: tuple[int, int], window: int, like: Tensor) -> Windows:
    """Windows of `window` places on a side for a grid, on the device of `like`, with masks of its type.

    A grid no larger than a window, on either side, has windows of that side, and they are not shifted.

    Raises:
        ValueError: windows do not tile the grid.
    """
    side = min(window, *grid)
    if grid[0] % side or grid[1] % side:
        raise ValueError(f"a grid of {grid[0]} x {grid[1]} patches cannot be tiled by windows of {side}")
    shift = side // 2 if min(grid) > window else 0
    plain, shifted = window_order(grid, side), window_order(grid, side, shift)
    masks = None
    if shift:
        masks = tuple(mask.to(like) if mask.any() else None for mask in shift_mask(grid, side, shift))
    into, across, back = (order.to(like.device) for order in (plain, plain.argsort()[shifted], shifted.argsort()))
    return Windows((len(plain) // side**2, side**2), into, across, back, masks)


class WindowAttention(nn.Module):
    """Attention within windows; query and key see the guidance, the value does not."""

    def __init__(self, *, width: int, guidance_width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width + guidance_width, width)
        self.k = nn.Linear(width + guidance_width, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def guide(self, guidance: Tensor) -> Tensor:
        """What guidance (..., G) and the biases add to query, key and value of every class: (..., 3C)."""
        query, key = share_of_guidance(self.q, guidance), share_of_guidance(self.k, guidance)
        return torch.cat([query, key, self.v.bias.to(key).expand_as(key)], dim=-1)

    def forward(self, x: Tensor, guided: Tensor, masks: tuple[Tensor | None, ...] | None) -> Tensor:
        """x (B,T,V,n,C) and what `guide` made of the guidance, (B,1,V,n,3C), to (B,T,V,n,C)."""
        query, key = (own_columns(linear, x.shape[-1]) for linear in (self.q, self.k))
        weight = torch.cat([query, key, self.v.weight])
        parts = F.linear(x, weight).add_(guided)  # into the map's own result, which no gradient needs
        if masks is None:
            return self.proj(self.attend(parts, None))
        attended = [self.attend(parts[:, :, index], mask) for index, mask in enumerate(masks)]
        return self.proj(torch.stack(attended, dim=2))

    def attend(self, parts: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of windows (...,n,3C), query, key and value side by side, to (...,n,C)."""
        heads = parts.flatten(0, -3).unflatten(-1, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in heads.unbind(2))
        if mask is not None:
            mask = mask.to(query.dtype)  # mixed precision: of the linear map's result
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attended.transpose(1, 2).flatten(-2).view(*parts.shape[:-1], -1)


class SwinBlock(nn.Module):
    """Pre-norm window attention and MLP, each added to its input."""

    def __init__(self, *, width: int, guidance_width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width=width, guidance_width=guidance_width, heads=heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, guided: Tensor, masks: tuple[Tensor | None, ...] | None = None) -> Tensor:
        x = x + self.attn(self.norm1(x), guided, masks)
        return x + self.mlp(self.norm2(x))


class SpatialLayer(nn.Module):
    """A block with plain windows, then one with windows shifted by half."""

    def __init__(self, *, width: int, guidance_width: int, heads: int):
        super().__init__()
        self.guidance_norm = nn.LayerNorm(guidance_width)
        self.blocks = nn.ModuleList(
            SwinBlock(width=width, guidance_width=guidance_width, heads=heads) for _ in range(2)
        )

    def guide(self, guidance: Tensor, windows: Windows) -> list[Tensor]:
        """What guidance (B,h,w,G) adds in each block, in the order of its windows: (B,1,V,n,3C), for all classes."""
        guidance = self.guidance_norm(guidance).flatten(1, 2).index_select(1, windows.into)
        orders = guidance, guidance.index_select(1, windows.across)
        return [
            block.get_submodule("attn").guide(order).unflatten(1, windows.split).unsqueeze(1)  # type: ignore
            for block, order in zip(self.blocks, orders, strict=True)
        ]

    def forward(self, x: Tensor, guided: list[Tensor], windows: Windows) -> Tensor:
        """Aggregate (B,T,h,w,C) over places under guidance that went through `guide`."""
        plain, shifted = self.blocks
        tokens = x.flatten(2, 3).index_select(2, windows.into).unflatten(2, windows.split)
        tokens = plain(tokens, guided[0]).flatten(2, 3).index_select(2, windows.across).unflatten(2, windows.split)
        tokens = shifted(tokens, guided[1], windows.masks).flatten(2, 3)
        return tokens.index_select(2, windows.back).view(x.shape)
