"""How well a CLIP trained on drawn scenes reads and localises held-out ones. Imports `ovss.scenes` and `ovss.clip`.

Shapes: B scenes, N patches, D embedding width, K classes.
"""

import torch
import torch.nn.functional as F
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from ovss.assets.reading import stack_images
from ovss.clip.image import BlockRule, value_only
from ovss.clip.model import CLIP
from ovss.clip.transformer import ResidualBlock
from ovss.metrics import ConfusionMatrix, scores
from ovss.scenes import ALL, CLASSES, HELD_OUT_STREAM, Scene, draw_scene, split_scene
from ovss.templates import prompt_set

MEAN_STD = (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
_BATCH = 32


def self_correlation(block: ResidualBlock, x: Tensor) -> tuple[Tensor, None]:
    """Attend by the likeness of queries, of keys and of values (CLIPtrase, section 3.3), averaged."""
    query, key, value = block.query_key_value(x)
    attended = [F.scaled_dot_product_attention(part, part, value) for part in (query, key, value)]
    return block.output(x, torch.stack(attended).mean(0)), None


RULES: dict[str, dict[int, BlockRule]] = {
    "plain": {},
    "value_only": {-1: value_only},
    "self_correlation": {-1: self_correlation},
}


def normalise(images: Tensor) -> Tensor:
    """Images uint8 to what the image tower takes: CLIP's mean and deviation of each channel."""
    mean, deviation = images.new_tensor(MEAN_STD, dtype=torch.float32).view(2, 3, 1, 1)
    return (images / 255 - mean) / deviation


def encode_names(clip: CLIP, names: tuple[str, ...]) -> Tensor:
    """Unit embeddings (K,D), each the mean over the "vild" prompts."""
    prompts = prompt_set("vild")
    text = F.normalize(clip.encode_text([prompt.format(name) for name in names for prompt in prompts]), dim=-1)
    return F.normalize(text.unflatten(0, (len(names), -1)).mean(1), dim=-1)


def _encode_scenes(clip: CLIP, scenes: list[Scene]) -> Tensor:
    device = clip.logit_scale.device
    images = (normalise(stack_images(scenes[i : i + _BATCH]).to(device)) for i in range(0, len(scenes), _BATCH))
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
    """Share of `count` held-out scenes of one object whose pair is found among all 36, zero-shot."""
    scenes = [draw_scene((HELD_OUT_STREAM, 1, i), max_objects=1) for i in range(count)]
    found = (_encode_scenes(clip, scenes) @ encode_names(clip, ALL).T).argmax(1).tolist()
    return sum(ALL[index] == scene.names[0] for index, scene in zip(found, scenes, strict=True)) / count


@torch.no_grad()
def dense_accuracy(clip: CLIP, count: int = 200) -> dict[str, dict[str, float]]:
    """Pixel accuracy and mIoU over 40 classes on `count` scenes of "val": each of RULES, and the majority class."""
    scenes = [split_scene("val", i) for i in range(count)]
    labels = torch.stack([torch.from_numpy(scene.labels).long() for scene in scenes])
    device = clip.logit_scale.device
    text = encode_names(clip, CLASSES)
    table = {"majority": _scores(labels, labels.flatten().mode().values.expand_as(labels))}
    for name, rules in RULES.items():
        found = []
        for start in range(0, count, _BATCH):
            images = normalise(stack_images(scenes[start : start + _BATCH]).to(device))
            features = clip.visual(images, rules=rules)
            logits = F.normalize(features.patches, dim=-1) @ text.T
            logits = logits.transpose(1, 2).unflatten(-1, features.grid)
            found.append(F.interpolate(logits, labels.shape[-2:], mode="bilinear").argmax(1).cpu())
        table[name] = _scores(labels, torch.cat(found))
    return table


def _scores(labels: Tensor, found: Tensor) -> dict[str, float]:
    """Pixel accuracy and mean IoU of the classes in the ground truth, in percent."""
    matrix = ConfusionMatrix(len(CLASSES))
    matrix.update(found, labels, ignore_label=255)
    result = scores(matrix.counts)
    return {"pixel_accuracy": round(result.pAcc, 2), "mIoU": round(result.mIoU_gt, 2)}
