"""CAT-Seg's cost volume: similarity of every patch with every word (CVPR 2024). Plain torch.

Shapes: B views, T text rows, P prompts, D embedding width, C hidden width, h w patch grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovss.precision import at_least_float32

# Logit of a class that a view left out: its probability is 0.
DROPPED_LOGIT = -100.0
# Embeddings whose cost is looked at at once to find the best: bounds memory, whatever the vocabulary.
ROWS_AT_ONCE = 1024


def unit(x: Tensor, dim: int) -> Tensor:
    """Of length 1 along `dim`. Never in half precision: cosines of classes differ by a few hundredths."""
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(at_least_float32(x), dim=dim)


def cost_volume(features: Tensor, text: Tensor) -> Tensor:
    """Cosine of unit patch features (B,D,h,w) with unit text embeddings (B or 1,T,P,D): (B,T,P,h,w), in [-1, 1]."""
    with torch.autocast(features.device.type, enabled=False):
        rows = text.flatten(1, 2).expand(features.shape[0], -1, -1)
        return (rows @ features.flatten(2)).view(features.shape[0], *text.shape[1:3], *features.shape[2:])


def most_similar(features: Tensor, text: Tensor, count: int, rows_at_once: int | None = None) -> Tensor:
    """Indices (B,count), ascending, of the rows of text whose best cosine anywhere in the view is highest.

    `features` (B,D,h,w) and `text` (T,P,D) are of unit length. By default as many rows are looked at at once as memory
    should hold for these views.
    """
    step = rows_at_once or max(ROWS_AT_ONCE // (len(features) * text.shape[1]), 1)
    parts = [cost_volume(features, rows[None]).flatten(2).amax(dim=-1) for rows in text.split(step)]
    best = torch.cat(parts, dim=1)
    return best.topk(count, dim=1, sorted=False).indices.sort(dim=1).values


def restore(logits: Tensor, kept: Tensor, rows: int) -> Tensor:
    """Put the logits (B,count,h,w) of the kept rows (B,count) back among all `rows`; the others get DROPPED_LOGIT."""
    full = logits.new_full((logits.shape[0], rows, *logits.shape[2:]), DROPPED_LOGIT)
    return full.scatter(1, kept[..., None, None].expand_as(logits), logits)


def pick(logits: Tensor, kept: Tensor, rows: Tensor) -> Tensor:
    """Logits (B,t,h,w) of some rows (t,) from those (B,K,h,w) of the rows (B,K) that each view keeps, see `restore`."""
    same = kept[:, :, None] == rows
    found = logits.gather(1, same.byte().argmax(dim=1)[..., None, None].expand(-1, -1, *logits.shape[2:]))
    return found.masked_fill_(~same.any(dim=1)[..., None, None], DROPPED_LOGIT)


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
        maps = cost.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # as what comes next wants its answer
        return self.conv(maps).permute(0, 2, 3, 1).contiguous().unflatten(0, cost.shape[:2])
