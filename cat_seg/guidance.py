"""Guidance of the aggregation: where it comes from and how it joins a linear map. Plain torch on the shared CLIP.

Shapes: B views, N = h*w patches, W tower width, D embedding width, G guidance width.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from cat_seg.backbone import ResNet101, SwinBase
from ovss.clip.image import ImageFeatures


def own_columns(linear: nn.Linear, width: int) -> Tensor:
    """Of a map of x (..., C) and guidance (..., G) side by side, the columns (out,C) of an x of that width."""
    return linear.weight[:, :width]


def share_of_guidance(linear: nn.Linear, guidance: Tensor) -> Tensor:
    """What guidance (..., G), and the bias, add to such a map: the same for all classes, or all places."""
    return F.linear(guidance, linear.weight[:, linear.in_features - guidance.shape[-1] :], linear.bias)


def as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B,N,W) -> (B,W,h,w)"""
    return tokens.transpose(1, 2).unflatten(2, grid)


def to_square(normalised: Tensor, side: int, multiple: int) -> Tensor:
    """Pad (B,3,H,W) with 0 at the right and bottom to multiples of `multiple` pixels, squash it to (side, side)."""
    height, width = normalised.shape[-2:]
    padded = F.pad(normalised, (0, -width % multiple, 0, -height % multiple))
    return F.interpolate(padded, size=(side, side), mode="bilinear", align_corners=False)


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

    def forward(self, features: ImageFeatures, images: Tensor, multiple: int) -> list[Tensor]:
        """(B,D,h,w), (B,channels[0],2h,2w), (B,channels[1],4h,4w), of the features alone."""
        levels = [as_map(features.layers[layer][:, 1:], features.grid) for layer in self.layers]
        raised = [up(level) for up, level in zip(self.upsample, levels, strict=True)]
        return [as_map(features.patches, features.grid), *raised]


class BackboneGuidance(nn.Module):
    """Guidance from an appearance backbone, which sees a copy of the view of its own (first version).

    Args:
        backbone: makes three maps, the coarsest first.
        resolution: the copy is squashed to this square, in pixels; the coarsest map must have CLIP's patch grid.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    layers: tuple[int, ...] = ()

    def __init__(self, *, backbone: ResNet101 | SwinBase, resolution: int):
        super().__init__()
        self.backbone = backbone
        self.resolution = resolution
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_DEFAULT_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_DEFAULT_STD).view(3, 1, 1), persistent=False)

    def prepare(self, images: Tensor, multiple: int) -> Tensor:
        """What the backbone takes, see `to_square`: (B,3,H,W) in [0,1], by ImageNet's mean and deviation."""
        return to_square((images - self.pixel_mean) / self.pixel_std, self.resolution, multiple)

    def forward(self, features: ImageFeatures, images: Tensor, multiple: int) -> list[Tensor]:
        """The backbone's maps at h w, 2h 2w, 4h 4w of images (B,3,H,W) in [0,1]; the features are not looked at."""
        return self.backbone(self.prepare(images, multiple))
