"""CLIPtrase (ECCV 2024), training-free: both published variants and its two baselines. Plain torch.

Shapes: B batch, T text rows, K classes, P prompts, D embedding width, N = h*w patches, H' W' resolution of the answer.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliptrase.correlation import keep_correlation, recalibrate, self_self_attention
from cliptrase.dbscan import dbscan
from cliptrase.means import mean_labels, mean_scores
from cliptrase.regions import assign_regions, majority, region_maps, vote
from cliptrase.static import StaticCLIPtrase
from ovss.clip.image import BlockRule, ImageFeatures, value_only
from ovss.clip.model import CLIP
from ovss.inference import DenseModel, merge_rows
from ovss.labels import resize, resized_labels
from ovss.precision import at_least_float32

# What runs in place of the last block. "plain" is CLIP as trained, "value" is MaskCLIP.
ATTENTIONS: dict[str, BlockRule | None] = {"self": self_self_attention, "value": value_only, "plain": None}
FUSIONS = ("vote", "mean", "none")


@dataclass(frozen=True)
class Regions:
    """How regions come about: DBSCAN on the recalibrated correlation, then smoothed maps.

    `eps` is a Euclidean distance between rows of the (N,N) correlation and so grows with the grid: the paper takes 0.7
    with 3 points at 14 x 14 patches and 1.1 with 7 at 21 x 21.
    """

    eps: float = 0.7
    min_points: int = 3
    upsample: int = 4
    median: int = 7

    def __post_init__(self):
        if self.eps <= 0 or self.min_points < 1 or self.upsample < 1:
            raise ValueError(f"{self}: eps must be above 0, min_points and upsample at least 1")
        if self.median < 1 or self.median % 2 == 0:
            raise ValueError(f"median {self.median}: expected an odd number of pixels")


class CLIPtrase(DenseModel):
    """Patch features against words, made one per region.

    Args:
        clip: supplies the image tower and the logit scale.
        attention: "self" (CLIPtrase), "value" (MaskCLIP) or "plain" (CLIP), for the last block.
        fusion: "vote" (paper: the region takes its majority's class), "mean" (Detectron2 variant: mean logits), "none".
        regions: how regions are found; not used when `fusion` is "none".
        unit_features: divide patch features by their norm (paper) or not (Detectron2 variant).
        class_token_weighting: multiply patch logits by the class token's, as published for VOC-20.
        input_scale: resize the images by this factor first (Detectron2 variant: 0.5).
        positions: how position embeddings are resized (`resize_positions`).
    """

    def __init__(
        self,
        *,
        clip: CLIP,
        attention: str = "self",
        fusion: str = "vote",
        regions: Regions | None = None,
        unit_features: bool = True,
        class_token_weighting: bool = False,
        input_scale: float = 1.0,
        positions: str = "offset",
    ):
        if not 0 < input_scale <= 1:
            raise ValueError(f"input_scale {input_scale}: expected a factor above 0, at most 1")
        super().__init__(clip)
        if attention not in ATTENTIONS:
            raise ValueError(f"unknown attention {attention!r}; known: {', '.join(ATTENTIONS)}")
        if fusion not in FUSIONS:
            raise ValueError(f"unknown fusion {fusion!r}; known: {', '.join(FUSIONS)}")
        self.attention = attention
        self.fusion = fusion
        self.regions = regions or Regions()
        self.unit_features = unit_features
        self.class_token_weighting = class_token_weighting
        self.input_scale = input_scale
        self.positions = positions

    @property
    def size_divisibility(self) -> int:
        return round(self.clip.visual.patch_size / self.input_scale)

    def prepare(self, images: Tensor) -> Tensor:
        """What the image tower takes: (B,3,H,W) in [0,1], normalised and scaled."""
        images = self.normalise(images)
        if self.input_scale == 1:
            return images
        return F.interpolate(images, scale_factor=self.input_scale, mode="bilinear", align_corners=False)

    def encode(self, images: Tensor) -> tuple[ImageFeatures, Tensor | None]:
        """Features of images (B,3,H,W) in [0,1], and the correlation (B,N,N) for regions, where these are used."""
        rules: dict[int, BlockRule] = {}
        if (last := ATTENTIONS[self.attention]) is not None:
            rules[-1] = last
        if self.fusion != "none":
            rules[-2] = keep_correlation
        features = self.clip.visual(self.prepare(images), positions=self.positions, rules=rules)
        return features, recalibrate(features.kept[-2]) if -2 in features.kept else None

    def patch_logits(self, features: ImageFeatures, text: Tensor) -> Tensor:
        """Scaled similarity of every patch with every row of text (T,P,D), prompts averaged: (B,T,h,w).

        Never in half precision: cosines of classes differ by a few hundredths.
        """
        patches, class_token = at_least_float32(features.patches), at_least_float32(features.class_token)
        with torch.autocast(patches.device.type, enabled=False):
            text = F.normalize(text.mean(dim=1), dim=-1)
            if self.unit_features:
                patches, class_token = F.normalize(patches, dim=-1), F.normalize(class_token, dim=-1)
            logits = self.clip.logit_scale.exp() * (text @ patches.transpose(1, 2))
            if self.class_token_weighting:
                logits = logits * (self.clip.logit_scale.exp() * class_token @ text.T).unsqueeze(-1)
            return logits.unflatten(-1, features.grid)

    @torch.no_grad()
    def forward(
        self, images: Tensor, text: Tensor, classes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """See `DenseModel.forward`. Scores are logits; with fusion "vote" shares, in [0,1], of the pixel's region."""
        features, correlation = self.encode(images)
        size = size or (images.shape[-2], images.shape[-1])
        logits = self.patch_logits(features, text)
        if correlation is None:
            return merge_rows(resize(logits, size), classes)
        regions = self.regions_of(correlation, features.grid, size)
        if self.fusion == "mean":
            return mean_scores(logits, classes, regions)
        return vote(resized_labels(logits, size, classes)[0], regions, count_classes(logits, classes))

    def probabilities(self, scores: Tensor) -> Tensor:
        """See `DenseModel.probabilities`: shares of votes as they are, of logits the softmax over the classes."""
        return scores if self.fusion == "vote" else scores.softmax(0)

    @torch.no_grad()
    def labels(
        self, images: Tensor, text: Tensor, classes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `DenseModel.labels`."""
        features, correlation = self.encode(images)
        size = size or (images.shape[-2], images.shape[-1])
        logits = self.patch_logits(features, text)
        if correlation is None:
            return resized_labels(logits, size, classes)
        regions = self.regions_of(correlation, features.grid, size)
        if self.fusion == "mean":
            return mean_labels(logits, classes, regions)
        return majority(resized_labels(logits, size, classes)[0], regions, count_classes(logits, classes))

    def static_form(self, text: Tensor, classes: Tensor, size: tuple[int, int]) -> nn.Module:
        """See `DenseModel.static_form`."""
        return StaticCLIPtrase(self, text, classes, size)

    def regions_of(self, correlation: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Region (B,H',W') of every pixel, from the correlation (B,N,N) of the patches of a grid (h,w)."""
        clusters = dbscan(correlation, self.regions.eps, self.regions.min_points)
        maps, valid = region_maps(correlation, clusters, grid)
        return assign_regions(maps, valid, size, self.regions.upsample, self.regions.median)


def count_classes(logits: Tensor, classes: Tensor | None) -> int:
    """How many classes the rows (B,T,h,w) are of, `classes` (T,) as in `merge_rows`."""
    return logits.shape[1] if classes is None else int(classes.max()) + 1
