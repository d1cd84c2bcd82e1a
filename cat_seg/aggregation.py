"""The aggregator as a whole: from dense features and words to logits, a few classes at a time (CAT-Seg). Plain torch.

Shapes: B views, T classes, K classes that a view keeps, P prompts, D embedding width, C width, G guidance width, h w
patch grid.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from cat_seg.class_layer import ClassLayer
from cat_seg.cost import CostEmbedding, most_similar, pick, restore, unit
from cat_seg.decoder import Decoder
from cat_seg.passes import Aggregation
from cat_seg.swin import SpatialLayer, lay_windows
from ovss.memory import default_budget

# Maps, of a class in a view, that go through the aggregator at once, at most. On a CPU what they make should stay in
# its cache.
CPU_MAPS, DEVICE_MAPS = 16, 128
# What a map takes on its way, by what it takes between two layers: about so much, for the bound on memory.
WORK = 32


class AggregatorLayer(nn.Module):
    """Aggregation over places, then over classes."""

    def __init__(self, *, spatial: SpatialLayer, classes: ClassLayer):
        super().__init__()
        self.spatial = spatial
        self.classes = classes


class Aggregator(nn.Module):
    """From dense features and words to one logit map per class.

    Args:
        prompts: per class; they are the input channels of the cost embedding.
        text_width, appearance_width: of the text embeddings and of the coarsest guidance map.
        width: hidden width C; `guidance_width` that of the projected text and appearance guidance.
        layers, heads, window: see `lay_windows`.
        class_tokens: see `ClassLayer`; of more classes each view keeps the so many that are most similar to it.
        kept_classes: at test a view keeps this many instead, 0: all.

    `memory_budget`, in bytes, bounds what is kept of the classes from one layer to the next (0: `default_budget`);
    of the others all is made again for each layer. `checkpointed`, False until set: see `Aggregation`.
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
        kept_classes: int | None = None,
    ):
        super().__init__()
        self.checkpointed = False
        self.memory_budget = 0
        self.window = window
        self.class_tokens = class_tokens
        self.kept_classes = class_tokens if kept_classes is None else kept_classes
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
        kept, parts = self.aggregate(features, text, guidance, pooling)
        logits = torch.cat([*parts], dim=1)
        return logits if kept is None else restore(logits, kept, len(text))

    def parts(
        self, features: Tensor, text: Tensor, guidance: Sequence[Tensor], pooling: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `forward`, a few classes at a time: rows of text (t,), ascending, and their logits (B,t,4h,4w).

        Of the rows that no view keeps, whose logits are all alike, the first alone is among them.
        """
        kept, parts = self.aggregate(features, text, guidance, pooling)
        if kept is None:
            start = 0
            for logits in parts:
                yield torch.arange(start, start + logits.shape[1], device=logits.device), logits
                start += logits.shape[1]
            return
        logits = torch.cat([*parts], dim=1)
        used = torch.zeros(len(text), dtype=torch.bool, device=text.device).index_fill(0, kept.flatten(), True)
        used[(~used).byte().argmax()] = True
        for rows in used.nonzero()[:, 0].split(CPU_MAPS):
            yield rows, pick(logits, kept, rows)

    def aggregate(
        self, features: Tensor, text: Tensor, guidance: Sequence[Tensor], pooling: int
    ) -> tuple[Tensor | None, Iterator[Tensor]]:
        """Which rows each view keeps, (B,K) ascending, or None for all; and the logits (B,t,4h,4w) of a few each."""
        features, text = unit(features, dim=1), unit(text, dim=-1)
        words = self.text(unit(text.mean(dim=1), dim=-1))
        count = self.class_tokens if self.training else self.kept_classes
        kept = most_similar(features, text, count) if 0 < count < len(text) else None
        rows = len(text) if kept is None else kept.shape[1]
        at_once, budget = CPU_MAPS if features.device.type == "cpu" else DEVICE_MAPS, None
        size = self.embedding.conv.out_channels * features[0, 0].numel() * features.element_size()
        if not torch.is_grad_enabled():  # training sums in the same order however much memory is free
            budget = self.memory_budget or default_budget(features.device)
            at_once = max(min(at_once, budget // (WORK * size)), 1)
        views = min(max(at_once // rows, 1), len(features))
        classes = min(max(at_once // views, 1), rows)
        stay = rows if budget is None else budget // (len(features) * classes * size)
        windows = lay_windows((features.shape[2], features.shape[3]), self.window, features)
        groups = []
        for start in range(0, len(features), views):
            group = slice(start, start + views)
            chosen = (text[None], words[None]) if kept is None else (text[kept[group]], words[kept[group]])
            maps = [level[group] for level in guidance]
            groups.append(Aggregation(self, features[group], *chosen, maps, windows, pooling, classes, stay))
        return kept, (torch.cat([group.logits(i) for group in groups]) for i in range(-(-rows // classes)))
