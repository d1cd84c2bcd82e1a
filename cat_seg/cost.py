"""CAT-Seg's cost volume: similarity of every patch with every word (CVPR 2024). Plain torch.

Shapes: B views, T text rows, P prompts, D embedding width, C hidden width, h w patch grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Logit of a class that a view left out: its probability is 0.
DROPPED_LOGIT = -100.0


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision to float32: for sums of many terms, and for differences that it would round away."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cost_volume(features: Tensor, text: Tensor) -> Tensor:
    """Cosine of patch features (B,D,h,w) with text embeddings (T,P,D): (B,T,P,h,w), in [-1, 1].

    Never in half precision: cosines of classes differ by a few hundredths.
    """
    with torch.autocast(features.device.type, enabled=False):
        features, text = F.normalize(at_least_float32(features), dim=1), F.normalize(at_least_float32(text), dim=-1)
        return torch.einsum("bdhw,tpd->btphw", features, text)


def most_similar(cost: Tensor, count: int) -> Tensor:
    """Indices (B,count), ascending, of the rows of text whose best cosine anywhere in the view is highest."""
    best = cost.flatten(2).amax(dim=-1)
    return best.topk(count, dim=1, sorted=False).indices.sort(dim=1).values


def restore(logits: Tensor, kept: Tensor, rows: int) -> Tensor:
    """Put the logits (B,count,h,w) of the kept rows (B,count) back among all `rows`; the others get DROPPED_LOGIT."""
    full = logits.new_full((len(logits), rows, *logits.shape[2:]), DROPPED_LOGIT)
    return full.scatter(1, kept[..., None, None].expand_as(logits), logits)


class CostEmbedding(nn.Module):
    """A 7 x 7 convolution over the cost of one class; its P prompts are the input channels."""

    def __init__(self, *, prompts: int, width: int):
        super().__init__()
        self.conv = nn.Conv2d(prompts, width, kernel_size=7, padding=3)

    def forward(self, cost: Tensor) -> Tensor:
        """(B,T,P,h,w) -> (B,T,h,w,C)

        Raises:
            ValueError: another number of prompts than the embedding was built for.
        """
        if cost.shape[2] != self.conv.in_channels:
            raise ValueError(
                f"text with {cost.shape[2]} prompts per class, but this model embeds {self.conv.in_channels}: "
                "the prompts of training and test must be the same"
            )
        embedded = self.conv(cost.flatten(0, 1)).unflatten(0, cost.shape[:2])
        return embedded.permute(0, 1, 3, 4, 2).contiguous()
