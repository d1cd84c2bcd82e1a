"""Whether a written file answers as the model does, on one drawn scene. Imports torch, numpy and opencv."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss import scenes

# Least share of equal labels. Rounding moves a label where two classes are as good as equal.
LEAST_EQUAL = 0.999
SCENE, NOISE = (0, 0, 0), 0.02


@dataclass(frozen=True)
class Agreement:
    """Share of pixels whose labels are the same, and the largest difference of scores anywhere."""

    equal: float
    difference: float

    def __str__(self) -> str:
        return f"{self.equal:.4%} of the labels are equal, scores differ by at most {self.difference:.1e}"


def example(size: tuple[int, int]) -> Tensor:
    """A drawn scene (1,3,H,W), always the same, with a little noise, so that no two places are exactly alike."""
    drawn = torch.from_numpy(scenes.draw_scene(SCENE).image).permute(2, 0, 1)[None] / 255
    image = F.interpolate(drawn, size=size, mode="bilinear", align_corners=False)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return (image + NOISE * noise).clamp(0, 1)


def compare(expected: Tensor, found: tuple[Tensor, Tensor]) -> Agreement:
    """Of the model's scores (B,K,H,W) and what a file found: scores, and labels (B,H,W)."""
    scores, labels = found
    equal = (expected.max(dim=1).indices == labels).double().mean()
    return Agreement(float(equal), float((expected - scores).abs().max()))
