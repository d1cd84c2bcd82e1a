"""The optimizer: what every parameter's learning rate and decay are, and how gradients are clipped. Imports torch."""

import logging
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import SGD, AdamW, Optimizer

from ovss.d2.api import CfgNode

logger = logging.getLogger(__name__)
NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
OPTIMIZERS = ("ADAMW", "SGD")
CLIP_TYPES = ("full_model", "norm", "value")


def parameter_groups(model: nn.Module, cfg: CfgNode) -> list[dict[str, Any]]:
    """One group for every parameter that trains, in the model's order: "params", "lr", "weight_decay", "name".

    `model` is the whole Detectron2 model: its CLIP lies under `model.clip.`, as every model's does, and an appearance
    backbone is a part named `backbone`; their learning rates are fractions of SOLVER.BASE_LR. Norms and embeddings
    have decays of their own (published: 0, as has the table of relative positions); biases decay like weights.
    """
    solver = cfg.SOLVER
    groups = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        place, _, own_name = name.rpartition(".")
        module = model.get_submodule(place)
        decay = solver.WEIGHT_DECAY
        if isinstance(module, NORMS):
            decay = solver.WEIGHT_DECAY_NORM
        elif isinstance(module, nn.Embedding):
            decay = solver.WEIGHT_DECAY_EMBED
        elif own_name == "relative_position_bias_table":
            decay = 0.0
        fraction = 1.0
        if name.startswith("model.clip."):
            fraction = solver.CLIP_MULTIPLIER
        elif "backbone" in place.split("."):
            fraction = solver.BACKBONE_MULTIPLIER
        group = {"params": [parameter], "lr": solver.BASE_LR * fraction, "weight_decay": decay, "name": name}
        groups.append(group)
    return groups


def build_optimizer(
    cfg: CfgNode, model: nn.Module, on_gradient_norm: Callable[[Tensor], None] | None = None
) -> Optimizer:
    """AdamW or SGD over `parameter_groups`, which clips gradients at each step as SOLVER.CLIP_GRADIENTS says.

    `on_gradient_norm` is given the norm over all gradients before each clipping.

    Raises:
        ValueError: nothing trains, or an unknown SOLVER.OPTIMIZER or SOLVER.CLIP_GRADIENTS.CLIP_TYPE.
    """
    solver, clipping = cfg.SOLVER, cfg.SOLVER.CLIP_GRADIENTS
    if clipping.ENABLED and clipping.CLIP_TYPE not in CLIP_TYPES:
        raise ValueError(
            f"unknown SOLVER.CLIP_GRADIENTS.CLIP_TYPE {clipping.CLIP_TYPE!r}; known: {', '.join(CLIP_TYPES)}"
        )
    groups = parameter_groups(model, cfg)
    if not groups:
        raise ValueError(f"no parameter of {type(model).__name__} trains")
    optimizer: Optimizer
    if solver.OPTIMIZER == "ADAMW":
        optimizer = AdamW(groups, lr=solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY)
    elif solver.OPTIMIZER == "SGD":
        optimizer = SGD(groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM, weight_decay=solver.WEIGHT_DECAY)
    else:
        raise ValueError(f"unknown SOLVER.OPTIMIZER {solver.OPTIMIZER!r}; known: {', '.join(OPTIMIZERS)}")
    count = sum(group["params"][0].numel() for group in groups)
    logger.info(f"{solver.OPTIMIZER} trains {len(groups)} parameters, {count / 1e6:.2f} M numbers")

    def before_step(*_: Any) -> None:
        norm = _clip([group["params"][0] for group in optimizer.param_groups], clipping)
        if on_gradient_norm is not None:
            on_gradient_norm(norm)

    optimizer.register_step_pre_hook(before_step)
    return optimizer


def _clip(parameters: list[nn.Parameter], clipping: CfgNode) -> Tensor:
    """Clip in place: the norm of all gradients together ("full_model", published), or parameter by parameter.

    Returns the norm of all gradients before.
    """
    whole = clipping.ENABLED and clipping.CLIP_TYPE == "full_model"
    norm = clip_grad_norm_(parameters, clipping.CLIP_VALUE if whole else math.inf, clipping.NORM_TYPE)
    if clipping.ENABLED and not whole:
        for parameter in parameters:
            if clipping.CLIP_TYPE == "norm":
                clip_grad_norm_(parameter, clipping.CLIP_VALUE, clipping.NORM_TYPE)
            else:
                clip_grad_value_(parameter, clipping.CLIP_VALUE)
    return norm
