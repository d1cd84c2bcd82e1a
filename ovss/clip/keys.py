"""Names of CLIP's tensors: OpenAI's (open_clip's, CLIPtrase's re-keyed ones) and this project's. Plain torch."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# Not weights: sizes and the causal mask, which some files carry along.
_IGNORED = {"input_resolution", "context_length", "vocab_size", "attn_mask"}


def from_openai_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate OpenAI's names (also open_clip's; CLIPtrase's) to those of `CLIP`, splitting fused q, k, v.

    Raises:
        ValueError: two names of one tensor, or a fused tensor that is not three of a kind.
    """
    ours: dict[str, Tensor] = {}

    def take(key: str, value: Tensor) -> None:
        if key in ours:
            raise ValueError(f"two tensors for {key}")
        ours[key] = value

    for key, value in state.items():
        key = key.removeprefix("module.")
        if key in _IGNORED:
            continue
        key = re.sub(r"^clip_visual_extractor\.", "visual.", key).removeprefix("ov_classifier.")
        if not key.startswith("visual.") and key != "logit_scale":
            key = f"text.{key}"
        key = key.replace(".transformer.resblocks.", ".resblocks.")
        if ".attn.in_proj_" in key:
            stem, kind = key.split(".in_proj_")
            if not value.ndim or value.shape[0] % 3 or not len(value):
                raise ValueError(f"{key} of shape {tuple(value.shape)} does not split into query, key and value")
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                take(f"{stem}.{letter}_proj.{kind}", part.clone())
        else:
            take(key, value)
    return ours


def to_openai_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `from_openai_keys`: OpenAI's and open_clip's names, with q, k, v fused."""
    fused: dict[str, Tensor] = {}
    for key, value in state.items():
        match = re.fullmatch(r"(.+\.attn)\.([qkv])_proj\.(weight|bias)", key)
        if match is None:
            fused[key] = value
        elif match[2] == "q":
            fused[f"{match[1]}.in_proj_{match[3]}"] = torch.cat(
                [state[f"{match[1]}.{letter}_proj.{match[3]}"] for letter in "qkv"]
            )
    return {
        key.removeprefix("text.").replace("resblocks.", "transformer.resblocks."): value for key, value in fused.items()
    }


def misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """How two sets of named tensors differ in names and shapes, an example of each kind; "" where they do not."""
    shapes = [
        f"{key} is {tuple(found[key].shape)} in the file, {tuple(expected[key].shape)} in the model"
        for key in expected.keys() & found.keys()
        if found[key].shape != expected[key].shape
    ]
    kinds = {
        "missing": expected.keys() - found.keys(),
        "unknown": found.keys() - expected.keys(),
        "of another shape": shapes,
    }
    return "; ".join(f"{len(rows)} {kind} (such as {min(rows)})" for kind, rows in kinds.items() if rows)
