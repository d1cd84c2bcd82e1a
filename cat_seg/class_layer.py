"""Class aggregation: linear attention among the classes at every place, guided by the words. Plain torch.

CAT-Seg (CVPR 2024). What a class needs to know of the others is a sum over all of them (`ClassSums`), so that classes
go through a few at a time, once to be summed up and once to be changed, however many there are.

Shapes: B views, T classes, C width, G guidance width, H heads, d = C/H, h w grid, N places of the pooled grid.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cat_seg.guidance import own_columns, share_of_guidance
from ovss.precision import at_least_float32

EPSILON = 1e-6


class ClassSums(NamedTuple):
    """Sums over classes, of their keys (B,N,H,d) and of the outer products (B,N,H,d,d) of key and value."""

    keys: Tensor
    products: Tensor

    def add(self, other: "ClassSums") -> "ClassSums":
        return ClassSums(self.keys + other.keys, self.products + other.products)


def key_features(x: Tensor) -> Tensor:
    """elu + 1 (Katharopoulos et al., ICML 2020): of keys and queries, so that their products are weights."""
    return F.elu(x) + 1


def sum_up(key: Tensor, value: Tensor) -> ClassSums:
    """Sums over the T classes of keys and values (B,T,N,H,d).

    Never in half precision, as `attend`: elu + 1 is 0 there where float32's is small, so that no weight would be left
    to divide by, and sums overflow.
    """
    with torch.autocast(key.device.type, enabled=False):
        key = key_features(at_least_float32(key))
        return ClassSums(key.sum(dim=1), torch.einsum("btnhd,btnhe->bnhde", key, at_least_float32(value)))


def attend(query: Tensor, sums: ClassSums) -> Tensor:
    """Linear attention of queries (B,T,N,H,d) to all classes that were summed up: (B,T,N,H,d), of the queries' type."""
    with torch.autocast(query.device.type, enabled=False):
        features = key_features(at_least_float32(query))
        weight = torch.einsum("btnhd,bnhd->btnh", features, sums.keys) + EPSILON
        attended = torch.einsum("btnhd,bnhde->btnhe", features, sums.products) / weight.unsqueeze(-1)
    return attended.to(query.dtype)


class ClassLayer(nn.Module):
    """Attention among the classes at every place, query and key guided by the words.

    Args:
        class_tokens: fewer classes are padded to this many with a learned token, which attention does not mask; so a
            class's score depends on how many others there are, as published. 0: no padding (first version).
    """

    def __init__(self, *, width: int, guidance_width: int, heads: int, class_tokens: int):
        super().__init__()
        self.heads = heads
        self.class_tokens = class_tokens
        self.q = nn.Linear(width + guidance_width, width)
        self.k = nn.Linear(width + guidance_width, width)
        self.v = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        if class_tokens:
            self.padding_tokens = nn.Parameter(torch.zeros(1, 1, width))
            self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guidance_width))

    def guide(self, guidance: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """What the words' guidance (B or 1,t,G) of some classes adds to query and key at every place: (...,t,1,C)."""
        return [
            (share_of_guidance(self.q, part).unsqueeze(-2), share_of_guidance(self.k, part).unsqueeze(-2))
            for part in guidance
        ]

    def padding(self, classes: int) -> ClassSums | None:
        """What the padding tokens beside `classes` others add to the sums: equal tokens are one, weighted.

        Where none is left to add they count 0 times: data-parallel training needs a gradient of every parameter.
        """
        if not self.class_tokens:
            return None
        count = max(self.class_tokens - classes, 0)
        token = self.norm1(self.padding_tokens)
        key = F.linear(token, own_columns(self.k, token.shape[-1])) + share_of_guidance(self.k, self.padding_guidance)
        one = sum_up(*(self.split(part.unsqueeze(1)) for part in (key, self.v(token))))
        return ClassSums(count * one.keys, count * one.products)

    def split(self, tokens: Tensor) -> Tensor:
        """(...,C) -> (...,H,d)"""
        return tokens.unflatten(-1, (self.heads, -1))

    def sums(self, x: Tensor, guided: tuple[Tensor, Tensor], pooling: int) -> ClassSums:
        """Sums over some classes, x (B,T,h,w,C) under guidance that went through `guide`, (B or 1,T,1,C) each."""
        y = self.norm1(pool(x, pooling).flatten(2, 3))
        key = F.linear(y, own_columns(self.k, y.shape[-1])).add_(guided[1])
        return sum_up(self.split(key), self.split(self.v(y)))

    def forward(self, x: Tensor, guided: tuple[Tensor, Tensor], sums: ClassSums, pooling: int) -> Tensor:
        """Change some classes, x (B,T,h,w,C), by what all have summed up to, on a grid `pooling` times coarser."""
        grid = x.shape[2:4]
        pooled = pool(x, pooling)
        tokens = pooled.flatten(2, 3)
        y = self.norm1(tokens)
        query = F.linear(y, own_columns(self.q, y.shape[-1])).add_(guided[0])
        tokens = tokens + attend(self.split(query), sums).flatten(-2)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return x + unpool(tokens.view(pooled.shape), grid)


def pool(x: Tensor, pooling: int) -> Tensor:
    """(B,T,h,w,C) on a grid `pooling` times coarser."""
    if pooling == 1:
        return x
    return F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), pooling).permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


def unpool(x: Tensor, grid: torch.Size) -> Tensor:
    """(B,T,h',w',C) on a finer grid, corner to corner."""
    if x.shape[2:4] == grid:
        return x
    maps = x.flatten(0, 1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=grid, mode="bilinear", align_corners=True)
    return maps.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
