"""Upsampling decoder: from the aggregated cost of a class to its logits at four times the grid. Plain torch.

CAT-Seg (CVPR 2024). Shapes: B views, T classes, C width, G guidance width, h w patch grid.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovss.checkpointing import recomputed

# Maps that are decoded at once: they are independent, and a bound on them is one on memory (128: about 1 GB at 96 px).
MAPS_AT_ONCE = 128
CHANNELS_PER_GROUP = 16


class UpStage(nn.Module):
    """Twice the resolution; convolves the map beside the projected guidance.

    Args:
        width, out_width: channels before and after.
        guidance_channels: of the guidance map, `guidance_width` of its projection; the upsampled map has the other
            `width - guidance_width` channels.
    """

    def __init__(self, *, width: int, out_width: int, guidance_channels: int, guidance_width: int):
        super().__init__()
        self.guidance = nn.Sequential(nn.Conv2d(guidance_channels, guidance_width, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(width, width - guidance_width, 2, 2)
        self.conv1 = nn.Conv2d(width, out_width, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(out_width // CHANNELS_PER_GROUP, out_width)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(out_width // CHANNELS_PER_GROUP, out_width)

    def share(self, guidance: Tensor) -> Tensor:
        """What the guidance (B,G,2h,2w) adds to the first convolution of every class of its view."""
        weight = self.conv1.weight[:, self.up.out_channels :]
        return F.conv2d(self.guidance(guidance), weight, padding=1)

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        """Maps (B,T,C,h,w) -> (B,T,C',2h,2w)"""
        views = x.shape[:2]
        y = F.conv2d(self.up(x.flatten(0, 1)), self.conv1.weight[:, : self.up.out_channels], padding=1)
        y = (y.unflatten(0, views) + shared.unsqueeze(1)).flatten(0, 1)
        y = F.relu(self.norm1(y))
        return F.relu(self.norm2(self.conv2(y))).unflatten(0, views)


class Decoder(nn.Module):
    """Two stages and a head of one channel.

    Args:
        width: of the aggregated cost; `widths` after each stage (multiples of 16, one group norm group each).
        guidance_channels, guidance_widths: of each stage, see `UpStage`.

    `checkpointed`, False until set: training keeps what goes in and comes out, so that the bound on memory holds for
    the backward pass too.
    """

    def __init__(
        self,
        *,
        width: int,
        widths: Sequence[int],
        guidance_channels: Sequence[int],
        guidance_widths: Sequence[int],
    ):
        super().__init__()
        self.checkpointed = False
        sizes = zip([width, *widths], widths, guidance_channels, guidance_widths, strict=False)
        self.stages = nn.ModuleList(
            UpStage(width=before, out_width=after, guidance_channels=channels, guidance_width=projected)
            for before, after, channels, projected in sizes
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor, guidance: Sequence[Tensor]) -> Tensor:
        """Aggregated cost (B,T,h,w,C) and a guidance map per stage, each twice as large -> logits (B,T,4h,4w)."""
        shared = [cast(UpStage, stage).share(level) for stage, level in zip(self.stages, guidance, strict=True)]
        step = max(1, MAPS_AT_ONCE // len(x))
        parts = [recomputed(self.checkpointed, self.decode, part, *shared) for part in x.split(step, dim=1)]
        return torch.cat(parts, dim=1)

    def decode(self, x: Tensor, *shared: Tensor) -> Tensor:
        x = x.permute(0, 1, 4, 2, 3)
        for stage, share in zip(self.stages, shared, strict=True):
            x = stage(x, share)
        return self.head(x.flatten(0, 1)).view(*x.shape[:2], *x.shape[3:])
