"""The architectures by name and the CLIP that they build: two towers, a tokenizer, a temperature.

The table names open_clip's model configs and pretrained tags; what a config says is read from open_clip, not repeated.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from ovss.clip.image import ImageTower
from ovss.clip.text import TextTower
from ovss.clip.tokenizer import Tokenizer

ASSETS = Path(__file__).parent.parent / "assets"


@dataclass(frozen=True)
class Architecture:
    """An open_clip model config, the tag of its pretrained weights, and whether these were trained with QuickGELU."""

    config: str
    pretrained: str
    quick_gelu: bool


ARCHITECTURES = {
    "ViT-B/32": Architecture("ViT-B-32", "openai", True),
    "ViT-B/16": Architecture("ViT-B-16", "openai", True),
    "ViT-L/14": Architecture("ViT-L-14", "openai", True),
    "ViT-L/14@336": Architecture("ViT-L-14-336", "openai", True),
    "ViT-H-14": Architecture("ViT-H-14", "laion2b_s32b_b79k", False),
    "ViT-bigG-14": Architecture("ViT-bigG-14", "laion2b_s39b_b160k", False),
}
TINY = "tiny"  # trained on drawn scenes, embedded in the package: ovss/assets


def architecture_config(name: str) -> dict[str, Any]:
    """The config of a named architecture in open_clip's form (embed_dim, vision_cfg, text_cfg, quick_gelu)."""
    if name == TINY:
        return json.loads((ASSETS / "tiny_clip.json").read_text(encoding="utf-8"))
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown CLIP architecture {name!r}; known: {', '.join((*ARCHITECTURES, TINY))}")
    architecture = ARCHITECTURES[name]
    return open_clip.get_model_config(architecture.config) | {"quick_gelu": architecture.quick_gelu}


class CLIP(nn.Module):
    """Image tower, text tower and logit scale; `tokenizer` turns sentences into the text tower's input."""

    def __init__(self, config: dict[str, Any]):
        """Build from a config in open_clip's form; weights are random until loaded (`ovss.clip.weights`)."""
        super().__init__()
        vision, text = config["vision_cfg"], config["text_cfg"]
        quick_gelu = config.get("quick_gelu", False)
        self.visual = ImageTower(
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            width=vision["width"],
            layers=vision["layers"],
            heads=vision["width"] // vision.get("head_width", 64),
            embed_dim=config["embed_dim"],
            mlp_ratio=vision.get("mlp_ratio", 4.0),
            quick_gelu=quick_gelu,
        )
        self.text = TextTower(
            context_length=text["context_length"],
            vocab_size=text["vocab_size"],
            width=text["width"],
            layers=text["layers"],
            heads=text["heads"],
            embed_dim=config["embed_dim"],
            quick_gelu=quick_gelu,
        )
        # RGB in [0,1]; the same for every architecture of the table.
        self.pixel_mean, self.pixel_std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.tokenizer = Tokenizer(text["context_length"], config.get("known_token_ids"))

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised images (B,3,H,W) to class-token embeddings (B,D), not normalised."""
        return self.visual(images).class_token

    def encode_text(self, sentences: list[str]) -> Tensor:
        """Sentences to embeddings (M,D), not normalised."""
        return self.text(self.tokenizer(sentences))
