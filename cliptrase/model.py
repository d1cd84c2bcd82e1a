"""CLIPtrase (ECCV 2024): training-free segmentation by CLIP, both published variants, and its two baselines. Plain torch.

Shapes: B batch, T text rows, K classes, P prompts, D embedding width, N = h*w patches, H' W' resolution of the answer.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliptrase.correlation import keep_correlation, recalibrate, self_self_attention
from cliptrase.dbscan import dbscan
from cliptrase.regions import assign_regions, region_maps, region_mean, vote
from ovss.clip.image import BlockRule, ImageFeatures, ImageTower, value_only
from ovss.clip.model import CLIP
from ovss.inference import merge_rows

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


class CLIPtrase(nn.Module):
    """Patch features against words, made one per region. See `forward` for the contract.

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
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"unknown attention {attention!r}; known: {', '.join(ATTENTIONS)}")
        if fusion not in FUSIONS:
            raise ValueError(f"unknown fusion {fusion!r}; known: {', '.join(FUSIONS)}")
        self.visual: ImageTower = clip.visual
        self.logit_scale = clip.logit_scale
        self.attention = attention
        self.fusion = fusion
        self.regions = regions or Regions()
        self.unit_features = unit_features
        self.class_token_weighting = class_token_weighting
        self.input_scale = input_scale
        self.positions = positions
        self.register_buffer("pixel_mean", torch.tensor(clip.pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(clip.pixel_std).view(3, 1, 1), persistent=False)

    @property
    def size_divisibility(self) -> int:
        """Sides of `images` must be multiples of this many pixels."""
        return round(self.visual.patch_size / self.input_scale)

    def encode(self, images: Tensor) -> tuple[ImageFeatures, Tensor | None]:
        """Features of images (B,3,H,W) in [0,1], and the correlation (B,N,N) that regions come from, where they are used."""
        images = (images - self.pixel_mean) / self.pixel_std
        if self.input_scale != 1:
            images = F.interpolate(images, scale_factor=self.input_scale, mode="bilinear", align_corners=False)
        rules: dict[int, BlockRule] = {}
        if (last := ATTENTIONS[self.attention]) is not None:
            rules[-1] = last
        if self.fusion != "none":
            rules[-2] = keep_correlation
        features = self.visual(images, positions=self.positions, rules=rules)
        return features, recalibrate(features.kept[-2]) if -2 in features.kept else None

    def patch_logits(self, features: ImageFeatures, text: Tensor) -> Tensor:
        """Scaled similarity of every patch with every row of text (T,P,D), prompts averaged: (B,T,h,w)."""
        text = F.normalize(text.mean(dim=1), dim=-1)
        patches, class_token = features.patches, features.class_token
        if self.unit_features:
            patches, class_token = F.normalize(patches, dim=-1), F.normalize(class_token, dim=-1)
        logits = self.logit_scale.exp() * (text @ patches.transpose(1, 2))
        if self.class_token_weighting:
            logits = logits * (self.logit_scale.exp() * class_token @ text.T).unsqueeze(-1)
        return logits.unflatten(-1, features.grid)

    @torch.no_grad()
    def forward(
        self, images: Tensor, text: Tensor, classes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Score every class at every pixel.

        Args:
            images: (B,3,H,W) RGB in [0,1], sides divisible by `size_divisibility`.
            text: (T,P,D) unit text embeddings.
            classes: (T,) class of each row of text, default its own; a class scores as its best row does.
            size: resolution (H',W') of the answer, default (H,W).

        Returns: (B,K,H',W') logits; with fusion "vote" the share of the pixel's region that voted for the class, in [0,1].
        """
        features, correlation = self.encode(images)
        size = size or (images.shape[-2], images.shape[-1])
        logits = F.interpolate(self.patch_logits(features, text), size=size, mode="bilinear", align_corners=False)
        logits = merge_rows(logits, classes)
        if correlation is None:
            return logits
        labels = dbscan(correlation, self.regions.eps, self.regions.min_points)
        maps, valid = region_maps(correlation, labels, features.grid)
        regions = assign_regions(maps, valid, size, self.regions.upsample, self.regions.median)
        if self.fusion == "mean":
            return region_mean(logits, regions)
        return vote(logits.argmax(dim=1), regions, logits.shape[1])
