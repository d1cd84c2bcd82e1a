"""Class aggregation and the aggregator as a whole (CAT-Seg, CVPR 2024). Plain torch.

Shapes: B views, T classes, P prompts, D embedding width, C width, G guidance width, H heads, d = C/H, h w patch grid.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cat_seg.cost import CostEmbedding, at_least_float32, cost_volume, most_similar, restore
from cat_seg.decoder import MAPS_AT_ONCE, Decoder
from cat_seg.guidance import guided
from cat_seg.swin import SpatialLayer, Windows, lay_windows
from ovss.checkpointing import recomputed

EPSILON = 1e-6


def linear_attention(query: Tensor, key: Tensor, value: Tensor, padding: tuple[Tensor, Tensor, int]) -> Tensor:
    """Attention with feature map elu + 1 (Katharopoulos et al., ICML 2020) over (..., H, T, d).

    `padding` is the key (H,1,d) and value (H,1,d) of a token that is there `count` times more: equal tokens add up to
    one product, weighted. Never in half precision, whose elu + 1 is 0 where float32's is small, so that no weight would
    be left to divide by, and whose products overflow; the result has the type of `value`.
    """
    padding_key, padding_value, count = padding
    with torch.autocast(value.device.type, enabled=False):
        query, key, padding_key = (F.elu(at_least_float32(x)) + 1 for x in (query, key, padding_key))
        values, padding_value = at_least_float32(value), at_least_float32(padding_value)
        tokens = key.shape[-2] + count
        products = key.transpose(-1, -2) @ (values / tokens)
        products = products + count * (padding_key.transpose(-1, -2) @ (padding_value / tokens))
        mean = (key / tokens).sum(dim=-2) + count / tokens * padding_key[..., 0, :]
        attended = query @ products / (query @ mean.unsqueeze(-1) + EPSILON / tokens)
    return attended.to(value.dtype)


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

    def split(self, tokens: Tensor) -> Tensor:
        """(..., T, C) -> (..., H, T, d)"""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def padding(self, classes: int) -> tuple[Tensor, Tensor, int]:
        """Key and value of the padding token, and how often it stands beside `classes` others.

        It is there 0 times rather than left out: data-parallel training needs a gradient of every parameter.
        """
        if not self.class_tokens:
            nothing = self.v.weight.new_zeros(self.heads, 1, self.v.out_features // self.heads)
            return nothing, nothing, 0
        count = max(self.class_tokens - classes, 0)
        token = self.norm1(self.padding_tokens)
        return self.split(guided(self.k, token, self.padding_guidance)), self.split(self.v(token)), count

    def attend(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B,h,w,T,C), guidance (B,1,1,T,G) -> (B,h,w,T,C)"""
        query, key = guided(self.q, x, guidance), guided(self.k, x, guidance)
        query, key, value = (self.split(part) for part in (query, key, self.v(x)))
        return linear_attention(query, key, value, self.padding(x.shape[-2])).transpose(-2, -3).flatten(-2)

    def forward(self, x: Tensor, guidance: Tensor, pooling: int) -> Tensor:
        """Aggregate (B,T,h,w,C) over classes under text guidance (B or 1,T,G), on a grid `pooling` times coarser."""
        grid = x.shape[2:4]
        pooled = resize_places(x, lambda maps: F.avg_pool2d(maps, pooling)) if pooling > 1 else x
        tokens = pooled.permute(0, 2, 3, 1, 4)
        tokens = tokens + self.attend(self.norm1(tokens), guidance[:, None, None])
        tokens = tokens + self.mlp(self.norm2(tokens))
        change = tokens.permute(0, 3, 1, 2, 4)
        if pooling > 1:
            change = resize_places(
                change, lambda maps: F.interpolate(maps, size=grid, mode="bilinear", align_corners=True)
            )
        return x + change


def resize_places(x: Tensor, resize: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a map of (R,C,h,w) to (B,T,h,w,C)."""
    maps = resize(x.flatten(0, 1).permute(0, 3, 1, 2))
    return maps.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class AggregatorLayer(nn.Module):
    """Aggregation over places, then over classes.

    `checkpointed`, False until set: training keeps what goes in and comes out of each. Places of different classes are
    independent, so that they go through a few classes at a time, and what runs again for its gradients is bounded.
    """

    def __init__(self, *, spatial: SpatialLayer, classes: ClassLayer):
        super().__init__()
        self.checkpointed = False
        self.spatial = spatial
        self.classes = classes

    def forward(self, x: Tensor, guidance: Tensor, text_guidance: Tensor, windows: Windows, pooling: int) -> Tensor:
        bounded = self.checkpointed and torch.is_grad_enabled()
        step = max(1, MAPS_AT_ONCE // len(x)) if bounded else x.shape[1]
        parts = [recomputed(bounded, self.spatial, part, guidance, windows) for part in x.split(step, dim=1)]
        x = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        return recomputed(bounded, self.classes, x, text_guidance, pooling)


class Aggregator(nn.Module):
    """From dense features and words to one logit map per class.

    Args:
        prompts: per class; they are the input channels of the cost embedding.
        text_width, appearance_width: of the text embeddings and of the coarsest guidance map.
        width: hidden width C; `guidance_width` that of the projected text and appearance guidance.
        layers, heads, window, class_tokens: see `ClassLayer` and `lay_windows`. Of more than `class_tokens` classes
            each view keeps those most similar to it.
    """

    def __init__(
        self,
        *,
        prompts: int,
        text_width: int,
        appearance_width: int,
        width: int,
        guidance_width: int,
        layers: int,
        heads: int,
        window: int,
        class_tokens: int,
        decoder: Decoder,
    ):
        super().__init__()
        self.heads = heads
        self.window = window
        self.class_tokens = class_tokens
        self.embedding = CostEmbedding(prompts=prompts, width=width)
        self.appearance = nn.Sequential(nn.Conv2d(appearance_width, guidance_width, 3, padding=1), nn.ReLU())
        self.text = nn.Sequential(nn.Linear(text_width, guidance_width), nn.ReLU())
        self.layers = nn.ModuleList(
            AggregatorLayer(
                spatial=SpatialLayer(width=width, guidance_width=guidance_width, heads=heads),
                classes=ClassLayer(width=width, guidance_width=guidance_width, heads=heads, class_tokens=class_tokens),
            )
            for _ in range(layers)
        )
        self.decoder = decoder

    def forward(self, features: Tensor, text: Tensor, guidance: Sequence[Tensor], pooling: int) -> Tensor:
        """Dense features (B,D,h,w), text (T,P,D), guidance maps at h w, 2h 2w, 4h 4w -> logits (B,T,4h,4w).

        Raises:
            ValueError: windows do not tile the grid.
        """
        cost = cost_volume(features, text)
        text_guidance = self.text(F.normalize(F.normalize(text, dim=-1).mean(dim=1), dim=-1))[None]
        kept = None
        if 0 < self.class_tokens < len(text):
            kept = most_similar(cost, self.class_tokens)
            views = torch.arange(len(kept), device=kept.device)[:, None]
            cost, text_guidance = cost[views, kept], text_guidance[0, kept]
        x = self.embedding(cost)
        appearance = self.appearance(guidance[0]).permute(0, 2, 3, 1)
        windows = lay_windows((x.shape[2], x.shape[3]), self.window, self.heads, x)
        for layer in self.layers:
            x = layer(x, appearance, text_guidance, windows, pooling)
        logits = self.decoder(x, guidance[1:])
        return logits if kept is None else restore(logits, kept, len(text))
