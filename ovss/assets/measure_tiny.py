"""How well a CLIP trained on drawn scenes reads held-out ones, zero-shot. How it localises, train_net.py measures.

Imports `ovss.scenes` and `ovss.clip`. Shapes: B scenes, D embedding width, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss.assets.reading import stack_images
from ovss.clip.embeddings import embed_rows
from ovss.clip.model import CLIP
from ovss.scenes import ALL, HELD_OUT_STREAM, Scene, draw_scene
from ovss.templates import prompt_set

_BATCH = 32


def normalise(clip: CLIP, images: Tensor) -> Tensor:
    """Images uint8 to what the image tower takes: CLIP's mean and deviation of each channel."""
    mean, deviation = torch.tensor([clip.pixel_mean, clip.pixel_std], device=images.device).view(2, 3, 1, 1)
    return (images / 255 - mean) / deviation


def _encode_scenes(clip: CLIP, scenes: list[Scene]) -> Tensor:
    device = clip.logit_scale.device
    images = (normalise(clip, stack_images(scenes[i : i + _BATCH]).to(device)) for i in range(0, len(scenes), _BATCH))
    return torch.cat([F.normalize(clip.encode_image(batch), dim=-1) for batch in images])


@torch.no_grad()
def retrieval_accuracy(clip: CLIP, count: int = 256) -> float:
    """Share of `count` held-out scenes whose own caption is the nearest (equal captions count as own)."""
    scenes = [draw_scene((HELD_OUT_STREAM, 0, i)) for i in range(count)]
    captions = [scene.caption for scene in scenes]
    text = F.normalize(clip.encode_text(captions), dim=-1)
    nearest = (_encode_scenes(clip, scenes) @ text.T).argmax(1).tolist()
    return sum(captions[found] == caption for found, caption in zip(nearest, captions, strict=True)) / count


@torch.no_grad()
def pair_accuracy(clip: CLIP, count: int = 256) -> float:
    """Share of `count` held-out scenes of one object whose pair is found among all 36."""
    scenes = [draw_scene((HELD_OUT_STREAM, 1, i), max_objects=1) for i in range(count)]
    text = embed_rows(clip, [(name,) for name in ALL], prompt_set("vild"), average=True)[:, 0]
    found = (_encode_scenes(clip, scenes) @ text.T).argmax(1).tolist()
    return sum(ALL[index] == scene.names[0] for index, scene in zip(found, scenes, strict=True)) / count
