"""One way through an aggregator, a few classes at a time, in memory that need not grow with them. Plain torch.

Shapes: B views, T classes, t of them at a time, P prompts, D embedding width, C width, G guidance width, h w grid.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from cat_seg.class_layer import ClassLayer, ClassSums
from cat_seg.cost import cost_volume
from cat_seg.swin import SpatialLayer, Windows
from ovss.checkpointing import recomputed

if TYPE_CHECKING:
    from cat_seg.aggregation import Aggregator


class Aggregation:
    """A pass of some views, and of all their classes, a few at a time, through an aggregator.

    Places of different classes are independent; of all other classes, a class layer needs a sum. So there is a pass
    over the classes for each layer, which ends with sums, and one for the logits. What left a layer's spatial part is
    kept for the next pass of the first `kept` groups of classes; of the others it is made again from the start, in
    memory that does not grow with the classes.

    In training, `checkpointed` parts (the aggregator, its decoder) keep what goes into a pass of a few classes, and run
    it again for its gradients.
    """

    def __init__(
        self,
        aggregator: "Aggregator",
        features: Tensor,
        text: Tensor,
        words: Tensor,
        guidance: Sequence[Tensor],
        windows: Windows,
        pooling: int,
        classes: int,
        kept: int,
    ):
        """Sum up unit features (B,D,h,w), unit text (B or 1,T,P,D), its guidance (B or 1,T,G); `classes` at a time."""
        self.aggregator = aggregator
        self.features = features
        self.text = text.split(classes, dim=1)
        self.pooling = pooling
        self.spatial: list[SpatialLayer] = [layer.get_submodule("spatial") for layer in aggregator.layers]  # type: ignore
        self.classes: list[ClassLayer] = [layer.get_submodule("classes") for layer in aggregator.layers]  # type: ignore
        self.windows = windows
        appearance = aggregator.appearance(guidance[0]).permute(0, 2, 3, 1)
        self.appearance = [layer.guide(appearance, self.windows) for layer in self.spatial]
        self.words = [layer.guide(words.split(classes, dim=1)) for layer in self.classes]
        self.guidance = aggregator.decoder.prepare(guidance[1:])
        self.kept = kept
        self.left: list[Tensor | None] = [None] * len(self.text)  # what left the last spatial part, where it is kept
        self.sums: list[ClassSums] = []
        for depth, layer in enumerate(self.classes):
            total = layer.padding(text.shape[1])
            for index in range(len(self.text)):
                x, sums = recomputed(aggregator.checkpointed, self.advance, depth, index, self.before(depth, index))
                total = sums if total is None else total.add(sums)
                self.left[index] = x if index < kept else None
            assert total is not None
            self.sums.append(total)

    def enter(self, depth: int, index: int, x: Tensor | None) -> Tensor:
        """What comes into layer `depth` (B,t,h,w,C), or into the decoder, from what left the spatial part before."""
        if x is None:
            return self.aggregator.embedding(cost_volume(self.features, self.text[index]))
        before = depth - 1
        return self.classes[before](x, self.words[before][index], self.sums[before], self.pooling)

    def advance(self, depth: int, index: int, x: Tensor | None) -> tuple[Tensor, ClassSums]:
        """What leaves the spatial part of layer `depth`, and its sums, from what left that before."""
        x = self.spatial[depth](self.enter(depth, index, x), self.appearance[depth], self.windows)
        return x, self.classes[depth].sums(x, self.words[depth][index], self.pooling)

    def before(self, depth: int, index: int) -> Tensor | None:
        """What left the spatial part before that of layer `depth`; None where there is none."""
        if index < self.kept or not depth:
            return self.left[index]
        x = self.enter(depth - 1, index, self.before(depth - 1, index))
        return self.spatial[depth - 1](x, self.appearance[depth - 1], self.windows)

    def logits(self, index: int) -> Tensor:
        """Logits (B,t,4h,4w) of the classes of that index."""
        depth = len(self.classes)
        x = recomputed(self.aggregator.checkpointed, self.enter, depth, index, self.before(depth, index))
        return recomputed(self.aggregator.decoder.checkpointed, self.aggregator.decoder, x, self.guidance)
