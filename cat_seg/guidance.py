"""Guidance of the aggregation: where it comes from and how it joins a linear map. Plain torch on the shared CLIP.

Shapes: B views, N = h*w patches, W tower width, D embedding width, G guidance width.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ovss.clip.image import ImageFeatures


def guided(linear: nn.Linear, x: Tensor, guidance: Tensor) -> Tensor:
    """`linear` of x (..., C) and guidance (..., G) side by side, where the guidance's leading axes broadcast.

    The weight's columns are applied apart, so that guidance shared by all classes (or all places) is projected once.
    """
    width = x.shape[-1]
    shared = F.linear(guidance, linear.weight[:, width:], linear.bias)
    return F.linear(x, linear.weight[:, :width]) + shared


def as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B,N,W) -> (B,W,h,w)"""
    return tokens.transpose(1, 2).unflatten(2, grid)


class CLIPGuidance(nn.Module):
    """Guidance from the image tower itself: dense features, and two of its blocks upsampled (CVPR 2024).

    Args:
        width: of the tower.
        layers: the two blocks whose output guides the decoder, 0-based or counted from the end.
        channels: of the two upsampled maps, the coarse one first.
    """

    def __init__(self, *, width: int, layers: Sequence[int], channels: Sequence[int]):
        super().__init__()
        self.layers = tuple(layers)
        strides = [2 ** (level + 1) for level in range(len(channels))]
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(width, out, stride, stride) for out, stride in zip(channels, strides, strict=True)
        )

    def forward(self, features: ImageFeatures, images: Tensor) -> list[Tensor]:
        """(B,D,h,w), (B,channels[0],2h,2w), (B,channels[1],4h,4w); `images` (B,3,H,W) in [0,1] are not looked at."""
        levels = [as_map(features.layers[layer][:, 1:], features.grid) for layer in self.layers]
        raised = [up(level) for up, level in zip(self.upsample, levels, strict=True)]
        return [as_map(features.patches, features.grid), *raised]
