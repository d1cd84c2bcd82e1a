"""What benchmarks run on: a CLIP whose weights anyone can make, and a photo, so that both codes do the same work.

The weights follow the rule of tests/golden_weights.py: with them CLIPtrase finds regions and noise in a photo, at the
published settings, which it does not with weights at random.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ovss.clip.keys import from_openai_keys, to_openai_keys
from ovss.clip.model import CLIP, architecture_config

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "demo/images/astronaut.jpg"


def clip_state(arch: str = "ViT-B/16") -> dict[str, Tensor]:
    """A CLIP's tensors under OpenAI's names."""
    sys.path.append(str(ROOT / "tests"))
    from golden_weights import make_tensor

    with torch.device("meta"):
        shapes = {
            key: list(value.shape)
            for key, value in to_openai_keys(CLIP(architecture_config(arch)).state_dict()).items()
        }
    return {key: torch.from_numpy(np.array(make_tensor(key, shape))) for key, shape in shapes.items()}


def made_clip(arch: str, device: str) -> CLIP:
    with torch.device("meta"):
        clip = CLIP(architecture_config(arch))
    clip.load_state_dict(from_openai_keys(clip_state(arch)), assign=True)
    return clip.to(device).eval()


def made_text(words: int, width: int, device: str) -> Tensor:
    """Embeddings (T,1,D) of no words: unit vectors that have much in common, as those of words have."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(words, 1, width, generator=generator)
    return torch.nn.functional.normalize(1 + 0.3 * noise, dim=-1).to(device)


def photo(height: int, width: int) -> Image.Image:
    """The photo, squashed."""
    return Image.open(PHOTO).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def photo_tensor(height: int, width: int) -> Tensor:
    """The same as uint8 (3,H,W)."""
    return torch.from_numpy(np.array(photo(height, width))).permute(2, 0, 1).contiguous()
