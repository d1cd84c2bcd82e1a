"""Stochastic depth that is drawn crop by crop, from a seed that the crop brings. Imports torch and timm.

So what a crop's pass drops depends neither on the batch, the process nor the device that the crop is in, and a run
that is resumed drops the same. Rates and scaling are timm's.
"""

from collections.abc import Sequence

import torch
from timm.layers import DropPath
from torch import Tensor, nn


class StochasticDepth(DropPath):
    """timm's, which draws from the global generator in every pass, until `draw` has settled the draws."""

    scale: Tensor | None = None  # (B,) of the crops: 0 where the path is dropped, else 1 / (1 - rate)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, ...), the outputs of a path."""
        if self.scale is None or not self.training:
            return super().forward(x)
        return x * self.scale.to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def make_drawable(network: nn.Module) -> None:
    """Put `StochasticDepth` in the place of timm's own."""
    for module in [*network.modules()]:
        for name, part in module.named_children():
            if type(part) is DropPath:
                setattr(module, name, StochasticDepth(part.drop_prob))


def draw(model: nn.Module, seeds: Sequence[int | None]) -> None:
    """Settle what the next passes of `model` drop, over crops of these seeds; a crop without leaves it to timm.

    The draws stay until they are settled anew: a pass that is checkpointed runs again in the backward pass.
    """
    paths = [module for module in model.modules() if isinstance(module, StochasticDepth)]
    if not paths:
        return
    scales: Sequence[Tensor | None] = [None] * len(paths)
    if None not in seeds:
        keep = 1 - torch.tensor([path.drop_prob for path in paths])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds if seed is not None]
        drawn = torch.stack([torch.rand(len(paths), generator=generator) for generator in generators])
        scales = ((drawn < keep) / keep).to(next(model.parameters()).device).unbind(dim=1)
    for path, scale in zip(paths, scales, strict=True):
        path.scale = scale
