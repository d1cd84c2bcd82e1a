"""A small CAT-Seg with seeded weights, and what it is given."""

import copy

import torch
from torch import nn

from cat_seg.aggregation import Aggregator
from cat_seg.decoder import Decoder
from cat_seg.guidance import BackboneGuidance, CLIPGuidance
from cat_seg.model import CATSeg
from ovss.clip.image import value_only


class SmallBackbone(nn.Module):
    """Maps at 1/16, 1/8 and 1/4, of one convolution each."""

    channels = (20, 24, 16)

    def __init__(self):
        super().__init__()
        self.fine, self.middle, self.coarse = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 24, 2, 2), nn.Conv2d(24, 20, 2, 2)

    def forward(self, images):
        fine = self.fine(images)
        middle = self.middle(fine)
        return [self.coarse(middle), middle, fine]


def small_model(clip, prompts=1, class_tokens=6, resolution=64, backbone=None, kept_classes=None, **settings):
    """On a copy of the small CLIP of conftest.py: 8 x 8 patches, windows of 4, all random, padding tokens too."""
    torch.manual_seed(1)
    channels = backbone.channels if backbone else (24, 24, 16)
    decoder = Decoder(width=64, widths=[32, 16], guidance_channels=channels[1:], guidance_widths=[16, 16])
    aggregator = Aggregator(
        prompts=prompts, text_width=24, appearance_width=channels[0], width=64, guidance_width=32, layers=2, heads=4,
        window=4, class_tokens=class_tokens, decoder=decoder,
        kept_classes=kept_classes,
    )  # fmt: skip
    if backbone:
        guidance = BackboneGuidance(backbone=backbone, resolution=2 * resolution)
    else:
        guidance = CLIPGuidance(width=64, layers=[1, 2], channels=[24, 16])
    model = CATSeg(
        clip=copy.deepcopy(clip), guidance=guidance, aggregator=aggregator, resolution=resolution, **settings
    )
    with torch.no_grad():
        for name, parameter in aggregator.named_parameters():
            if "padding" in name:
                parameter.normal_()
            elif parameter.ndim > 1:  # larger than the default, so that classes differ clearly
                parameter.mul_(2)
    return model.eval()


def small_first_model(clip, backbone=None, **settings):
    """The same with the first version's parts and settings."""
    torch.manual_seed(2)
    backbone = backbone or SmallBackbone()
    return small_model(clip, **{"class_tokens": 0, "last_block": value_only, "backbone": backbone} | settings)


def small_text(rows, prompts=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, prompts, 24, generator=generator), dim=-1)


def small_images(count=1, size=(40, 56), seed=0):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))
