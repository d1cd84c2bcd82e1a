"""Appearance backbones of CAT-Seg's first version (arXiv 2303.11797v1), from torchvision and timm. Plain torch.

Shapes: B views, H W pixels. A backbone turns normalised views (B,3,H,W) into its maps at 1/16, 1/8 and 1/4 of the
sides, in this order, of `channels` each. Its modules keep the names that the libraries' files of weights use. Where its
`checkpointed` is set, training keeps the input of each block and runs it again for its gradients.
"""

import re
from pathlib import Path
from typing import cast

import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer, SwinTransformerStage
from torch import Tensor, nn
from torchvision.models import resnet101
from torchvision.ops import FrozenBatchNorm2d

from cat_seg.stochastic_depth import make_drawable
from ovss.checkpointing import recomputed
from ovss.clip.keys import misfit
from ovss.clip.weights import find_weights, read_tensors

BACKBONES = ("resnet101", "swin_base")
# Pixels per cell of the coarsest map.
STRIDE = 16


class ResNet101(nn.Module):
    """torchvision's ResNet-101 (stride in the 3 x 3 convolutions) without its last stage; batch norms are frozen."""

    channels = (1024, 512, 256)
    # What a file of ImageNet weights holds beside this network.
    unused = r"(layer4|fc)\.|.*\.num_batches_tracked$"

    def __init__(self):
        super().__init__()
        self.checkpointed = False
        network = resnet101(weights=None, norm_layer=FrozenBatchNorm2d)
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.layer1, self.layer2, self.layer3 = network.layer1, network.layer2, network.layer3

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        levels = []
        for layer in (self.layer1, self.layer2, self.layer3):
            for block in layer:
                x = recomputed(self.checkpointed, block, x)
            levels.append(x)
        return levels[::-1]


class SwinBase(nn.Module):
    """timm's Swin-B without its last stage; every map is normalised before the next stage halves it.

    Args:
        resolution: of the views, in pixels.
        drop_path: rate of stochastic depth in the last block in training, growing linearly from 0 in the first.
    """

    channels = (512, 256, 128)
    unused = r"(layers\.3|norm|head)\.|.*\.(relative_position_index|attn_mask)$"

    def __init__(self, *, resolution: int, drop_path: float):
        super().__init__()
        self.checkpointed = False
        network = SwinTransformer(
            img_size=resolution,
            window_size=12,
            embed_dim=self.channels[-1],
            depths=(2, 2, 18),
            num_heads=(4, 8, 16),
            num_classes=0,
            drop_path_rate=drop_path,
        )
        make_drawable(network)
        self.patch_embed, self.layers = network.patch_embed, network.layers
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in reversed(self.channels))

    def forward(self, images: Tensor) -> list[Tensor]:
        x, levels = self.patch_embed(images), []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            stage = cast(SwinTransformerStage, layer)
            x = stage.downsample(x)
            for block in stage.blocks:
                x = recomputed(self.checkpointed, block, x)
            levels.append(norm(x).permute(0, 3, 1, 2))
        return levels[::-1]


def build_backbone(name: str, resolution: int, drop_path: float) -> ResNet101 | SwinBase:
    """A backbone of `BACKBONES`, random; only Swin depends on the resolution and has stochastic depth.

    Raises:
        ValueError: an unknown name.
    """
    if name not in BACKBONES:
        raise ValueError(
            f"unknown appearance backbone {name!r}; known: {', '.join(BACKBONES)}, or '' for CLIP's layers"
        )
    return ResNet101() if name == "resnet101" else SwinBase(resolution=resolution, drop_path=drop_path)


def load_backbone(backbone: ResNet101 | SwinBase, path: str | Path) -> None:
    """Load ImageNet weights, strictly: torchvision's file of ResNet-101, timm's or Swin's own file of Swin-B at 384 px.

    Detectron2's `.pkl` is a pickle, which is never run. The norms of Swin's maps are in no such file and stay.

    Raises:
        ValueError: a file that is missing, damaged, hostile, or of another network; the message names it.
    """
    path = find_weights(path)
    state = read_tensors(path)
    if "layers.0.downsample.reduction.weight" in state:  # Swin's own names: a stage ends with the halving
        state = {re.sub(r"(?<=^layers\.)\d(?=\.downsample)", _next, key): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not re.match(backbone.unused, key)}
    expected = backbone.state_dict()
    state = {key: value for key, value in expected.items() if key.startswith("norms.")} | state
    if problem := misfit(expected, state):
        raise ValueError(f"weights {path} are not ImageNet's for {type(backbone).__name__}: {problem}")
    backbone.load_state_dict(state)


def _next(number: re.Match) -> str:
    return str(int(number[0]) + 1)
