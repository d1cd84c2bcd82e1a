"""CAT-Seg at its published sizes with the weights of golden_weights.py, run as the expected tensors were made."""

import json
from pathlib import Path

import numpy as np
import torch
from golden_weights import make_tensor

from cat_seg.checkpoint import from_released, to_released
from cat_seg.d2 import build_cat_seg
from ovss import hub
from ovss.clip.embeddings import embed_rows
from ovss.clip.model import CLIP, architecture_config
from ovss.d2.mapper import InputTransform
from ovss.sliding_window import SlidingWindow
from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary

ROOT = Path(__file__).parent.parent
CONFIGS = {"vitb": "vitb_384", "vitl": "vitl_336", "r101": "vitb_r101", "swinb": "vitl_swinb"}
VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]
WINDOW = SlidingWindow((640, 640), 384, 0.333)
# What the published code runs with in either path.
POOLING = {"plain": 2, "sw": 1}
# Whole pictures are padded to multiples of this many pixels, windows are not.
PADDING = {"plain": 32, "sw": 1}
TEXT_GUIDANCE = "aggregator.text.0.weight"


def rule_state(shapes):
    """A released state dict made by the rule of golden_weights.py; `shapes` name -> shape, of weights alone."""
    return {key: torch.from_numpy(np.array(make_tensor(key, shape))) for key, shape in shapes.items()}


def rule_model(cfg, keys_file=None):
    """The model of a config with the weights of the rule, through the adapter; on real weights' names where given."""
    with torch.device("meta"):
        clip = CLIP(architecture_config(cfg.MODEL.CLIP.NAME))
    model = build_cat_seg(cfg, clip, prompts=len(prompt_set(cfg.MODEL.TEXT.PROMPTS)))
    released = to_released(model)
    shapes = {key: tuple(value.shape) for key, value in released.items()}
    if keys_file is not None:
        shapes = {key: tuple(shape) for key, shape, _ in json.loads(keys_file.read_text())["keys"]}
    computed = {key: released[key] for key in shapes if key.endswith(("attn_mask", "relative_position_index"))}
    state = from_released(model, rule_state({key: shapes[key] for key in shapes.keys() - computed.keys()}) | computed)
    model.load_state_dict(state, assign=True)
    return model.eval()


def published(name, keys_file=None):
    """Config and model of a key of `CONFIGS`; see `rule_model`."""
    cfg = hub.load(str(ROOT / f"configs/cat_seg/{CONFIGS[name]}.yaml"))
    return cfg, rule_model(cfg, keys_file)


@torch.no_grad()
def encode(model, words, prompts="single", synonyms="first"):
    rows, _ = Vocabulary.from_words(words).phrases(synonyms)
    return embed_rows(model.clip, rows, prompt_set(prompts), average=False)


def views(image, mode):
    """What the model is given: (1,3,H,W) of the plain path, or (5,3,384,384) of the windows."""
    resized = torch.from_numpy(InputTransform(min_size=640, max_size=2560)(image).copy()).permute(2, 0, 1) / 255
    if mode == "sw":
        return WINDOW.views(resized[None])[0]
    return resized[None]


@torch.no_grad()
def run(model, image, text, mode):
    """Logits of all views, and probabilities at the photo's size, from one pass."""
    model.pooling = POOLING[mode]
    logits = model.logits(views(image, mode), text, PADDING[mode])
    logits = logits.float()
    fused = WINDOW.fuse(logits[None]) if mode == "sw" else logits.sigmoid()
    answer = torch.nn.functional.interpolate(fused, image.shape[:2], mode="bilinear", align_corners=False)
    return logits.float().numpy(), answer[0].float().numpy()


def close(found, expected, relative=1e-4, absolute=None):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (absolute or relative * np.abs(expected).max())


def check_answer(answer, expected, key, absolute=5e-5):
    """Probabilities at the stored pixels, and labels: all of the clear ones, 99.9 % overall."""
    assert list(answer.shape) == list(expected[f"{key}/out_shape"])
    values = answer.reshape(len(answer), -1)[:, expected[f"{key}/pix_idx"]]
    close(values, expected[f"{key}/pix_val"], absolute=absolute)
    agree = (answer.argmax(0) == expected[f"{key}/argmax"]).ravel()
    unclear = np.unpackbits(expected[f"{key}/margin_lt_1e-4"])[: agree.size].astype(bool)
    assert agree[~unclear].all()
    assert agree.mean() >= 0.999
