"""CAT-Seg (CVPR 2024; first version arXiv 2303.11797v1): CLIP's cost volume, aggregated over places and classes.

Plain torch. The two versions are one model: what differs are its parts and settings.

Shapes: B views, T text rows, K classes, P prompts, D embedding width, h w patch grid, H' W' resolution of the answer.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cat_seg.aggregation import Aggregator
from cat_seg.guidance import BackboneGuidance, CLIPGuidance, as_map, to_square
from cat_seg.static import StaticCATSeg
from ovss.clip.image import BlockRule, value_to_class
from ovss.clip.model import CLIP
from ovss.inference import DenseModel, merge_rows
from ovss.labels import resize, resized_labels
from ovss.precision import at_least_float32


class CATSeg(DenseModel):
    """A class's score is its probability, by itself: probabilities of a pixel do not sum to 1.

    Args:
        clip: image and text tower; all positions and depths are read off it.
        guidance: makes the guidance maps of a view, `guidance.layers` are the blocks that it asks of the tower.
        aggregator: makes the logits.
        resolution: every view is squashed to this square, in pixels, before CLIP.
        pad_to: whole pictures (not windows, not crops) are padded to multiples of this many pixels before the squash
            (published: 32). The border stays in the answer, a shift that the published figures contain.
        pooling, train_pooling: factor by which class aggregation coarsens the grid (published: 1 at test, 2 in
            training).
        last_block: what runs in place of CLIP's last block.
        positions: how position embeddings are resized (`resize_positions`).
    """

    resolution: int

    def __init__(
        self,
        *,
        clip: CLIP,
        guidance: CLIPGuidance | BackboneGuidance,
        aggregator: Aggregator,
        resolution: int,
        pad_to: int = 32,
        pooling: int = 1,
        train_pooling: int = 2,
        last_block: BlockRule = value_to_class,
        positions: str = "bicubic",
    ):
        super().__init__(clip)
        if resolution % clip.visual.patch_size:
            raise ValueError(f"resolution {resolution} px is no multiple of CLIP's patch, {clip.visual.patch_size} px")
        self.guidance = guidance
        self.aggregator = aggregator
        self.resolution = resolution
        self.pad_to = pad_to
        self.pooling = pooling
        self.train_pooling = train_pooling
        self.last_block = last_block
        self.positions = positions
        self.compiled = False

    def compile_aggregator(self) -> None:
        """Run what the aggregator does to a few classes through torch.compile: their number is much the same always."""
        for layer in self.aggregator.layers:
            layer.get_submodule("spatial").compile()
            layer.get_submodule("classes").compile()
        self.aggregator.decoder.compile()
        self.compiled = True

    @property
    def size_divisibility(self) -> int:
        """Pictures come as they are: the border has another value in CLIP's copy than in the backbone's."""
        return 1

    def prepare(self, images: Tensor, multiple: int = 1) -> Tensor:
        """What the image tower takes: (B,3,H,W) in [0,1], normalised and squashed to the resolution (`to_square`)."""
        return to_square(self.normalise(images), self.resolution, multiple)

    def encode(self, images: Tensor, multiple: int) -> tuple[Tensor, list[Tensor]]:
        """Dense features (B,D,h,w) of images (B,3,H,W), and what guides their aggregation; `multiple` as in `logits`.

        At test on a CPU an image at a time, whose activations stay in the cache.
        """
        at_once = 1 if images.device.type == "cpu" and not torch.is_grad_enabled() else len(images)
        features, guidance = zip(*(self.encode_together(part, multiple) for part in images.split(at_once)), strict=True)
        return torch.cat(features), [torch.cat(level) for level in zip(*guidance, strict=True)]

    def encode_together(self, images: Tensor, multiple: int) -> tuple[Tensor, list[Tensor]]:
        """`encode`, all images at once."""
        prepared = self.prepare(images, multiple)
        rules = {-1: self.last_block}
        features = self.clip.visual(prepared, positions=self.positions, rules=rules, layers=self.guidance.layers)
        return as_map(features.patches, features.grid), self.guidance(features, images, multiple)

    def logits(self, images: Tensor, text: Tensor, multiple: int = 1) -> Tensor:
        """Images (B,3,H,W) in [0,1] of any size, text (T,P,D) -> logits (B,T,4h,4w) over the whole of each image.

        `multiple`: the images are padded to multiples of this many pixels, and the logits lie over the padded images.
        """
        features, guidance = self.encode(images, multiple)
        return self.aggregator(features, text, guidance, self.train_pooling if self.training else self.pooling)

    def logit_parts(self, images: Tensor, text: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """See `DenseModel.logit_parts`."""
        features, guidance = self.encode(images, 1)
        return self.aggregator.parts(features, text, guidance, self.pooling)

    def static_form(self, text: Tensor, classes: Tensor, size: tuple[int, int]) -> nn.Module:
        """See `DenseModel.static_form`."""
        return StaticCATSeg(self, text, classes, size)

    def forward(
        self, images: Tensor, text: Tensor, classes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """See `DenseModel.forward`. Scores are probabilities; they, not the logits, are resized, as published."""
        probabilities = at_least_float32(self.logits(images, text, self.pad_to)).sigmoid()
        size = size or (images.shape[-2], images.shape[-1])
        return merge_rows(resize(probabilities, size), classes)

    @torch.no_grad()
    def labels(
        self, images: Tensor, text: Tensor, classes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `DenseModel.labels`."""
        probabilities = at_least_float32(self.logits(images, text, self.pad_to)).sigmoid_()
        return resized_labels(probabilities, size or (images.shape[-2], images.shape[-1]), classes)
