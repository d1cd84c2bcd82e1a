"""CLIPtrase in Detectron2: its config keys and its entry in META_ARCH_REGISTRY. The only module here that reads cfg."""

from typing import Any

from cliptrase.model import CLIPtrase as CLIPtraseModel
from cliptrase.model import Regions
from ovss.clip.weights import load_clip
from ovss.d2.api import META_ARCH_REGISTRY, CfgNode, configurable
from ovss.d2.segmentor import Segmentor
from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary


def add_cliptrase_config(cfg: CfgNode) -> None:
    """Add MODEL.CLIPTRASE.*; the defaults are the paper's at 224 px."""
    cfg.MODEL.CLIPTRASE = node = CfgNode()
    # Attention of the last block: "self" (CLIPtrase), "value" (MaskCLIP) or "plain" (CLIP as trained).
    node.ATTENTION = "self"
    # What a region does to its pixels: "vote" (paper), "mean" of the logits (Detectron2 variant), "none".
    node.FUSION = "vote"
    # DBSCAN on the recalibrated correlation: radius, and points in it (itself counted) that make a core point.
    node.EPS = 0.7
    node.MIN_POINTS = 3
    # Region maps are upsampled by this factor, then median-filtered with this window (odd, in pixels of that grid).
    node.UPSAMPLE = 4
    node.MEDIAN = 7
    # Divide patch features by their norm (paper) or not (Detectron2 variant).
    node.UNIT_FEATURES = True
    # Multiply patch logits by the class token's: published for VOC-20 (paper) and all VOC sets (Detectron2 variant).
    node.CLASS_TOKEN_WEIGHTING = False
    # Resize the prepared image by this factor before CLIP (Detectron2 variant: 0.5).
    node.INPUT_SCALE = 1.0


@META_ARCH_REGISTRY.register()
class CLIPtrase(Segmentor):
    """Training-free: built from cfg.MODEL.CLIP and cfg.MODEL.CLIPTRASE, nothing to load from MODEL.WEIGHTS."""

    @configurable
    def __init__(self, **parts: Any):
        super().__init__(**parts)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        if cfg.MODEL.WEIGHTS:
            raise ValueError(
                f"MODEL.WEIGHTS {cfg.MODEL.WEIGHTS!r}: CLIPtrase has none of its own; CLIP's go to MODEL.CLIP.WEIGHTS"
            )
        if cfg.TEST.SLIDING_WINDOW:
            raise ValueError(
                "TEST.SLIDING_WINDOW True: CLIPtrase's regions are of a whole picture, it has no windows; set False"
            )
        if cfg.TEST.KEPT_CLASSES >= 0:
            raise ValueError(f"TEST.KEPT_CLASSES {cfg.TEST.KEPT_CLASSES}: CLIPtrase looks at all classes; set -1")
        clip = load_clip(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS)
        node = cfg.MODEL.CLIPTRASE
        model = CLIPtraseModel(
            clip=clip,
            attention=node.ATTENTION,
            fusion=node.FUSION,
            regions=Regions(eps=node.EPS, min_points=node.MIN_POINTS, upsample=node.UPSAMPLE, median=node.MEDIAN),
            unit_features=node.UNIT_FEATURES,
            class_token_weighting=node.CLASS_TOKEN_WEIGHTING,
            input_scale=node.INPUT_SCALE,
        )
        return {
            "model": model,
            "prompts": prompt_set(cfg.MODEL.TEXT.PROMPTS),
            "average_prompts": True,
            "synonyms": cfg.MODEL.TEXT.SYNONYMS,
            "vocabulary": Vocabulary.parse(cfg.MODEL.VOCABULARY) if cfg.MODEL.VOCABULARY else None,
            "size_fit": cfg.INPUT.SIZE_FIT,
            "precision": cfg.TEST.PRECISION,
        }
