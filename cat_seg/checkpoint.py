"""CAT-Seg's released checkpoints (second version): their names of tensors and ours, every tensor exactly once.

The released names are those of the authors' Detectron2 model. CLIP lies under `sem_seg_head.predictor.clip_model`,
with the weights of query, key and value apart and their biases fused. Imports the plain model; reads tensors only.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cat_seg.model import CATSeg
from cat_seg.swin import shift_mask
from ovss.clip.keys import misfit
from ovss.clip.weights import find_weights, read_tensors

_CLIP = "sem_seg_head.predictor.clip_model."
_AGGREGATOR = "sem_seg_head.predictor.transformer."
# Our name -> the released one; the first pattern that matches is replaced, the rest of the name stays.
_NAMES = (
    (r"clip\.visual\.resblocks\.", f"{_CLIP}visual.transformer.resblocks."),
    (r"clip\.text\.resblocks\.", f"{_CLIP}transformer.resblocks."),
    (r"clip\.(?:text\.)?", _CLIP),
    (r"guidance\.upsample\.0\.", "upsample1."),
    (r"guidance\.upsample\.1\.", "upsample2."),
    (r"aggregator\.embedding\.conv\.", f"{_AGGREGATOR}conv1."),
    (r"aggregator\.appearance\.", f"{_AGGREGATOR}guidance_projection."),
    (r"aggregator\.text\.", f"{_AGGREGATOR}text_guidance_projection."),
    (r"aggregator\.decoder\.stages\.(\d)\.guidance\.", rf"{_AGGREGATOR}decoder_guidance_projection.\1."),
    (r"aggregator\.decoder\.stages\.0\.", f"{_AGGREGATOR}decoder1."),
    (r"aggregator\.decoder\.stages\.1\.", f"{_AGGREGATOR}decoder2."),
    (r"aggregator\.decoder\.", _AGGREGATOR),
    (r"aggregator\.layers\.(\d+)\.spatial\.blocks\.0\.", rf"{_AGGREGATOR}layers.\1.swin_block.block_1."),
    (r"aggregator\.layers\.(\d+)\.spatial\.blocks\.1\.", rf"{_AGGREGATOR}layers.\1.swin_block.block_2."),
    (r"aggregator\.layers\.(\d+)\.spatial\.", rf"{_AGGREGATOR}layers.\1.swin_block."),
    (r"aggregator\.layers\.(\d+)\.classes\.([qkv])\.", rf"{_AGGREGATOR}layers.\1.attention.attention.\2."),
    (r"aggregator\.layers\.(\d+)\.classes\.mlp\.", rf"{_AGGREGATOR}layers.\1.attention.MLP."),
    (r"aggregator\.layers\.(\d+)\.classes\.", rf"{_AGGREGATOR}layers.\1.attention."),
)
# The same for the end of a name, where the beginning is the released one.
_ENDINGS = (
    (r"(clip_model\..*\.attn\.[qkv]_proj)\.weight$", r"\1_weight"),
    (r"(clip_model\..*\.attn)\.[qkv]_proj\.bias$", r"\1.in_proj_bias"),
    (r"(swin_block\..*\.mlp)\.0\.", r"\1.fc1."),
    (r"(swin_block\..*\.mlp)\.2\.", r"\1.fc2."),
    (r"(decoder\d)\.conv1\.", r"\1.conv.double_conv.0."),
    (r"(decoder\d)\.norm1\.", r"\1.conv.double_conv.1."),
    (r"(decoder\d)\.conv2\.", r"\1.conv.double_conv.3."),
    (r"(decoder\d)\.norm2\.", r"\1.conv.double_conv.4."),
)


def released_name(key: str) -> str:
    """The released name of one of our tensors; query, key and value biases of a CLIP block share one."""
    for table in (_NAMES, _ENDINGS):
        for pattern, replacement in table:
            renamed, count = re.subn(pattern, replacement, key, count=1)
            if count:
                key = renamed
                break
    return key


def to_released(model: CATSeg) -> dict[str, Tensor]:
    """All tensors of a model under their released names, as the authors' code loads them."""
    released: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        name = released_name(key)
        fused = name.endswith(".in_proj_bias") and name in released  # ours come in the order q, k, v
        released[name] = torch.cat([released[name], value]) if fused else value
    return released | _masks(model)


def from_released(model: CATSeg, released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of a released one.

    Raises:
        ValueError: a tensor missing, unknown or of another shape, or trained with other windows than the model has.
    """
    if problem := misfit(to_released(model), released):
        raise ValueError(problem)
    for name, mask in _masks(model).items():
        if not torch.equal(released[name].float().cpu(), mask):
            raise ValueError(f"{name} is not the mask of windows of {model.aggregator.window} patches")
    state: dict[str, Tensor] = {}
    for key in model.state_dict():
        value = released[released_name(key)]
        fused = re.search(r"\.attn\.([qkv])_proj\.bias$", key) if key.startswith("clip.") else None
        state[key] = value.chunk(3)["qkv".index(fused[1])].clone() if fused else value
    return state


def load_checkpoint(model: CATSeg, path: str | Path) -> None:
    """Load a released checkpoint or one of this project's, strictly.

    Raises:
        ValueError: a file that is missing, damaged, hostile, or of another model; the message names it.
    """
    path = find_weights(path)
    state = read_tensors(path)
    try:
        if any(key.startswith(_AGGREGATOR) for key in state):
            state = from_released(model, state)
        else:
            state = {key.removeprefix("model."): value for key, value in state.items()}
            if problem := misfit(model.state_dict(), state):
                raise ValueError(problem)
    except ValueError as error:
        raise ValueError(f"weights {path} are not those of this CAT-Seg: {error}") from error
    model.load_state_dict(state)


def _masks(model: CATSeg) -> dict[str, Tensor]:
    """The shifted windows' masks, which the released files hold and this model computes."""
    side, window = model.resolution // model.clip.visual.patch_size, model.aggregator.window
    if side <= window:
        return {}
    mask = shift_mask((side, side), window, window // 2, torch.device("cpu"))
    layers = range(len(model.aggregator.layers))
    return {f"{_AGGREGATOR}layers.{layer}.swin_block.block_2.attn_mask": mask for layer in layers}
