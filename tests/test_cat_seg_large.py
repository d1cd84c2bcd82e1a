"""ViT-H and ViT-bigG of both versions at their real widths, cut to a few blocks, on one image: random weights."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cat_seg.d2 import build_cat_seg
from ovss import hub
from ovss.clip.model import CLIP, architecture_config
from ovss.templates import prompt_set

ROOT = Path(__file__).parent.parent


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", ["vith_336", "vitg_336", "vith_swinb", "vitg_swinb"])
def test_one_image(name):
    cfg = hub.load(str(ROOT / f"configs/cat_seg/{name}.yaml"), ["MODEL.CAT_SEG.GUIDANCE_LAYERS", "[0, 1]"])
    config = architecture_config(cfg.MODEL.CLIP.NAME)
    config["vision_cfg"] |= {"layers": 3}
    config["text_cfg"] |= {"layers": 1}
    torch.manual_seed(0)
    clip = CLIP(config)
    assert clip.visual.positional_embedding.shape[0] == 1 + 16 * 16
    prompts = len(prompt_set(cfg.MODEL.TEXT.PROMPTS))
    model = build_cat_seg(cfg, clip, prompts).eval()
    assert clip.visual.positional_embedding.shape[0] == 1 + 24 * 24
    text = F.normalize(torch.randn(3, prompts, clip.visual.proj.shape[1]), dim=-1)
    image = torch.rand(1, 3, 480, 640)
    logits = model.logits(image, text)
    assert logits.shape == (1, 3, 96, 96)
    assert torch.isfinite(logits).all()
    assert (logits[:, 0] - logits[:, 1]).abs().max() > 1e-3
    assert (model.logits(image.flip(-1), text) - logits).abs().max() > 1e-3
