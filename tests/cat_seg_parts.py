"""CAT-Seg models for tests: a small one with seeded weights, and the published sizes with the weights of the rule."""

import copy
import json

import numpy as np
import torch
from golden_weights import make_tensor

from cat_seg.aggregation import Aggregator
from cat_seg.checkpoint import from_released, to_released
from cat_seg.d2 import build_cat_seg
from cat_seg.decoder import Decoder
from cat_seg.guidance import CLIPGuidance
from cat_seg.model import CATSeg
from ovss.clip.model import CLIP, architecture_config


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


def rule_state(shapes):
    """A released state dict made by the rule of golden_weights.py; `shapes` name -> shape, without the masks."""
    return {key: torch.from_numpy(np.array(make_tensor(key, shape))) for key, shape in shapes.items()}


def rule_model(cfg, keys_file=None):
    """The model of a config with the weights of the rule, through the adapter; on real weights' names where given."""
    with torch.device("meta"):
        model = build_cat_seg(cfg, CLIP(architecture_config(cfg.MODEL.CLIP.NAME)), prompts=1)
    released = to_released(model)
    shapes = {key: tuple(value.shape) for key, value in released.items()}
    if keys_file is not None:
        shapes = {key: tuple(shape) for key, shape, _ in json.loads(keys_file.read_text())["keys"]}
    masks = {key: released[key] for key in shapes if key.endswith("attn_mask")}
    state = from_released(model, rule_state({key: shapes[key] for key in shapes.keys() - masks.keys()}) | masks)
    model.load_state_dict(state, assign=True)
    for name, values in (("pixel_mean", model.clip.pixel_mean), ("pixel_std", model.clip.pixel_std)):
        setattr(model, name, torch.tensor(values).view(3, 1, 1))
    return model.eval()
