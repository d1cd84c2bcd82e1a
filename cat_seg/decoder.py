"""Upsampling decoder: from the aggregated cost of a class to its logits at four times the grid. Plain torch.

CAT-Seg (CVPR 2024). Shapes: B views, T classes, C width, G guidance width, h w patch grid.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    def prepare(self, guidance: Tensor) -> tuple[Tensor, Tensor]:
        """What a pass needs but once: the kernel that raises and convolves (C,C',4,4), and what is added (B,C',2h,2w).

        Nothing lies between `up` and `conv1` but the guidance that comes beside, so that they are one transposed
        convolution: its kernel is what `conv1` makes of a single place, raised. What guidance and the bias of `up` add
        is the same for every class.
        """
        raised = self.up.out_channels
        weight, beside = self.conv1.weight[:, :raised], self.conv1.weight[:, raised:]
        with torch.autocast(guidance.device.type, enabled=False):  # a product of weights is not rounded on its way
            kernel = F.conv2d(self.up.weight, weight, padding=2)
        bias = cast(Tensor, self.up.bias).view(1, -1, 1, 1).expand(-1, -1, *guidance.shape[-2:])
        shared = F.conv2d(self.guidance(guidance), beside, padding=1) + F.conv2d(bias, weight, padding=1)
        return kernel, shared.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor, kernel: Tensor, shared: Tensor) -> Tensor:
        """Maps (B,T,C,h,w), and what `prepare` made of the guidance, to (B,T,C',2h,2w)."""
        y = F.conv_transpose2d(x.flatten(0, 1), kernel, stride=2, padding=1)
        y = (y.unflatten(0, x.shape[:2]) + shared.unsqueeze(1)).flatten(0, 1)
        y = F.relu(self.norm1(y), inplace=True)
        return F.relu(self.norm2(self.conv2(y)), inplace=True).unflatten(0, x.shape[:2])


class Decoder(nn.Module):
    """Two stages and a head of one channel.

    Args:
        width: of the aggregated cost; `widths` after each stage (multiples of 16, one group norm group each).
        guidance_channels, guidance_widths: of each stage, see `UpStage`.

    `checkpointed`, False until set: see `cat_seg.passes.Aggregation`.
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

    def prepare(self, guidance: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Of each stage what a pass needs but once; a guidance map per stage, each twice as large as the one before."""
        return [cast(UpStage, stage).prepare(level) for stage, level in zip(self.stages, guidance, strict=True)]

    def forward(self, x: Tensor, prepared: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Aggregated cost (B,T,h,w,C), and guidance that went through `prepare`, to logits (B,T,4h,4w)."""
        x = x.permute(0, 1, 4, 2, 3)
        for stage, (kernel, shared) in zip(self.stages, prepared, strict=True):
            x = stage(x, kernel, shared)
        return self.head(x.flatten(0, 1)).view(*x.shape[:2], *x.shape[3:])
