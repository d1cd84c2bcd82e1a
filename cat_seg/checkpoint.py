"""CAT-Seg's checkpoints: the released ones of both versions to this project's tensors and back, and this project's own.

Every tensor is used exactly once. Imports the plain model; reads tensors only. Names are in `released_names.py`.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from timm.models.swin_transformer import get_relative_position_index
from torch import Tensor

from cat_seg.guidance import BackboneGuidance
from cat_seg.model import CATSeg
from cat_seg.released_names import AGGREGATOR, is_fused, kind_of, released_name
from cat_seg.swin import shift_mask
from ovss.clip.keys import misfit
from ovss.clip.weights import find_weights, read_tensors


def rename(model: CATSeg, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a model (values, gradients) under their released names; query, key, value are joined where fused."""
    released: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = _released_name(model, key)
        begun = is_fused(name) and name in released  # ours come in the order q, k, v
        released[name] = torch.cat([released[name], value]) if begun else value
    return released


def to_released(model: CATSeg) -> dict[str, Tensor]:
    """All tensors of a model under their released names, as the authors' code loads them."""
    return rename(model, model.state_dict()) | _computed(model)


def from_released(model: CATSeg, released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of a released one.

    Raises:
        ValueError: a tensor missing, unknown or of another shape, or trained with other windows than the model has.
    """
    own, computed = model.state_dict(), _computed(model)
    shapes = rename(model, {key: value.to("meta") for key, value in own.items()})
    if problem := misfit(shapes | computed, released):
        raise ValueError(problem)
    for name, value in computed.items():
        if not torch.equal(released[name].to(value), value):
            raise ValueError(f"{name} is not that of this model's windows")
    state: dict[str, Tensor] = {}
    for key in own:
        name = _released_name(model, key)
        fused = re.search(r"\.([qkv])_proj\.", key) if is_fused(name) else None
        state[key] = released[name].chunk(3)["qkv".index(fused[1])].clone() if fused else released[name]
    return state


def load_checkpoint(model: CATSeg, path: str | Path) -> None:
    """Load a released checkpoint or one of this project's, strictly.

    Raises:
        ValueError: a file that is missing, damaged, hostile, or of another model; the message names it.
    """
    path = find_weights(path)
    state = read_tensors(path)
    try:
        if any(key.startswith(AGGREGATOR) for key in state):
            _check_kind(model, state)
            state = from_released(model, state)
        else:
            state = {key.removeprefix("model."): value for key, value in state.items()}
            _check_kind(model, state)
            if problem := misfit(model.state_dict(), state):
                raise ValueError(problem)
    except ValueError as error:
        raise ValueError(f"weights {path} are not those of this CAT-Seg: {error}") from error
    model.load_state_dict(state)


def _released_name(model: CATSeg, key: str) -> str:
    return released_name(key, first_version=isinstance(model.guidance, BackboneGuidance))


def _check_kind(model: CATSeg, state: Mapping[str, Tensor]) -> None:
    """A file of another version would differ in hundreds of names; say which it is instead."""
    found, configs = kind_of(state)
    expected, _ = kind_of(model.state_dict())
    if found and found != expected:
        raise ValueError(f"they are of the {found}, the config is of the {expected}; take configs/cat_seg/{configs}")


def _computed(model: CATSeg) -> dict[str, Tensor]:
    """What released files hold and this model computes: masks of shifted windows, index tables of Swin's biases."""
    computed: dict[str, Tensor] = {}
    side, window = model.resolution // model.clip.visual.patch_size, model.aggregator.window
    if side > window:
        mask = shift_mask((side, side), window, window // 2)
        for layer in range(len(model.aggregator.layers)):
            computed[f"{AGGREGATOR}layers.{layer}.swin_block.block_2.attn_mask"] = mask
    for key, table in model.state_dict().items():
        if key.endswith("relative_position_bias_table"):
            side = (math.isqrt(len(table)) + 1) // 2  # a row for every offset of two places of a window
            name = released_name(key).removesuffix("bias_table") + "index"
            with torch.device("cpu"):
                computed[name] = get_relative_position_index(side, side)
    return computed
