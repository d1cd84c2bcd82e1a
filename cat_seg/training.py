"""What CAT-Seg trains, and on which loss (both versions). Plain torch; the loop is Detectron2's.

Shapes: B crops, K classes, H W pixels of the labels, h w of the logits.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cat_seg.guidance import BackboneGuidance
from cat_seg.model import CATSeg
from ovss.precision import at_least_float32

# Which of CLIP's parameters train, by name. The aggregator and upsampled guidance always do.
CLIP_FINETUNE = {
    "none": None,
    "attention": r"\.resblocks\.\d+\.attn\.[qv]_proj\.weight$",
    "image_attention": r"^visual\.(resblocks\.\d+\.attn\.|positional_embedding$)",
    "full": r"\.resblocks\.|^visual\.prompt_tokens$",
    "prompt": r"^visual\.prompt_tokens$",
}


def set_trainable(model: CATSeg, clip_finetune: str, backbone: bool = False) -> None:
    """Freeze CLIP but for what `clip_finetune` names, and the appearance backbone (first version) unless told.

    Args:
        clip_finetune: "none"; "attention", query and value of both towers (published, second version);
            "image_attention", all of the image tower's attention and its position embedding (published, first version);
            "full", all blocks of both towers, and prompts; "prompt", the image tower's prompts alone.
        backbone: train it, but for what the published code freezes: batch norms, and the norm of Swin's finest map.

    Raises:
        ValueError: an unknown way, or prompts to train where there are none.
    """
    if clip_finetune not in CLIP_FINETUNE:
        raise ValueError(f"unknown way to finetune CLIP {clip_finetune!r}; known: {', '.join(CLIP_FINETUNE)}")
    if clip_finetune == "prompt" and model.clip.visual.prompt_tokens is None:
        raise ValueError("CLIP_FINETUNE 'prompt', but there are no prompts: set PROMPT_LENGTH and PROMPT_DEPTH")
    pattern = CLIP_FINETUNE[clip_finetune]
    for name, parameter in model.clip.named_parameters():
        parameter.requires_grad_(pattern is not None and re.search(pattern, name) is not None)
    if isinstance(model.guidance, BackboneGuidance):
        for name, parameter in model.guidance.backbone.named_parameters():
            parameter.requires_grad_(backbone and not name.startswith("norms.0."))


def set_checkpointed(model: CATSeg, parts: Collection[str]) -> None:
    """Let these parts of a model recompute activations in training instead of keeping them; the others keep them.

    Args:
        parts: of "clip" (blocks of both towers), "backbone" (first version), "aggregator" (its layers, a few classes at
            a time), "decoder" (a few classes at a time).

    Raises:
        ValueError: an unknown part, or the backbone of a model that has none.
    """
    modules: Mapping[str, list[nn.Module]] = {
        "clip": [model.clip.visual, model.clip.text],
        "backbone": [model.guidance.backbone] if isinstance(model.guidance, BackboneGuidance) else [],
        "aggregator": [model.aggregator],
        "decoder": [model.aggregator.decoder],
    }
    for part in parts:
        if not modules.get(part):
            known = ", ".join(name for name, present in modules.items() if present)
            raise ValueError(f"no part {part!r} to checkpoint in this model; it has: {known}")
    for part, members in modules.items():
        for module in members:
            module.checkpointed = part in parts  # type: ignore[assignment]


def require_compiler(device: str) -> None:
    """Raise ValueError, saying what to do, where torch.compile has no compiler for a type of device."""
    if device == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise ValueError("MODEL.COMPILE needs Triton on a GPU: pip install triton, or MODEL.COMPILE False")
        return
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    try:
        subprocess.run([compiler, "--version"], capture_output=True, check=True)  # as torch looks for it
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(
            f"MODEL.COMPILE needs a C++ compiler, and {compiler!r} does not run: install it, name another in the "
            "environment variable CXX (one command without options), or set MODEL.COMPILE False"
        ) from error


def idle(model: CATSeg) -> Tensor:
    """A zero that depends on the trained query and key of CLIP's last image block, which the answer does not.

    The published code computes both and drops them, so that their gradient is 0 and weight decay still shrinks them;
    and data-parallel training needs a gradient of every trained parameter.
    """
    attention = model.clip.visual.resblocks[-1].get_submodule("attn")
    unused = [*attention.get_submodule("q_proj").parameters(), *attention.get_submodule("k_proj").parameters()]
    return sum((0 * parameter.sum() for parameter in unused if parameter.requires_grad), torch.zeros(()))


def pixel_loss(logits: Tensor, labels: Tensor, ignore_label: int, ignored_as_negative: bool) -> Tensor:
    """Binary cross-entropy of every class at every pixel, averaged.

    Args:
        logits: (B,K,h,w), resized to the labels.
        labels: (B,H,W) long, classes 0..K-1 or `ignore_label`; nothing else, which is not looked for here, since a GPU
            would have to be waited for.
        ignored_as_negative: pixels without a label count as "none of the classes" (published); else they are left out.
    """
    logits = F.interpolate(at_least_float32(logits), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    labelled = labels != ignore_label
    # softplus(x) is the loss of "not this class"; of "this class" it is x less.
    own = logits.gather(1, labels.where(labelled, 0).unsqueeze(1)).squeeze(1)
    if ignored_as_negative:
        return (F.softplus(logits).sum() - (own * labelled).sum()) / logits.numel()
    total = (F.softplus(logits).sum(dim=1) - own) * labelled
    return total.sum() / (labelled.sum() * logits.shape[1]).clamp_min(1)
