"""A small CAT-Seg with seeded weights, and what it is given."""

import copy

import torch

from cat_seg.aggregation import Aggregator
from cat_seg.decoder import Decoder
from cat_seg.guidance import CLIPGuidance
from cat_seg.model import CATSeg


def small_model(clip, prompts=1, class_tokens=6, resolution=64, **settings):
    """On a copy of the small CLIP of conftest.py: 8 x 8 patches, windows of 4, all random, padding tokens too."""
    torch.manual_seed(1)
    decoder = Decoder(width=64, widths=[32, 16], guidance_channels=[24, 16], guidance_widths=[16, 16])
    aggregator = Aggregator(
        prompts=prompts, text_width=24, appearance_width=24, width=64, guidance_width=32, layers=2, heads=4, window=4,
        class_tokens=class_tokens, decoder=decoder,
    )  # fmt: skip
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


def small_text(rows, prompts=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, prompts, 24, generator=generator), dim=-1)


def small_images(count=1, size=(40, 56), seed=0):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))
