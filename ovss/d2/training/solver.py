"""The optimizer: what every parameter's learning rate and decay are, and how gradients are clipped. Imports torch."""

import logging
import math
from collections.abc import Mapping
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
    """The parameters that train, those of one rate and decay together: "params", "lr", "weight_decay", "names".

    Groups come as their first parameters do in the model, and so do the parameters of each.

    `model` is the whole Detectron2 model: its CLIP lies under `model.clip.`, as every model's does, and an appearance
    backbone is a part named `backbone`; their learning rates are fractions of SOLVER.BASE_LR. Norms and embeddings
    have decays of their own (published: 0, as has the table of relative positions); biases decay like weights.
    """
    solver = cfg.SOLVER
    groups: dict[tuple[float, float], dict[str, Any]] = {}
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
        rate = solver.BASE_LR * fraction
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay, "names": []})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """AdamW or SGD over `parameter_groups`.

    On a GPU it is fused: one kernel for many parameters. On the CPU it is not, where that would round otherwise.

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
    trained = [parameter for group in groups for parameter in group["params"]]
    fused = trained[0].is_cuda or None  # None: torch's own choice
    optimizer: Optimizer
    if solver.OPTIMIZER == "ADAMW":
        optimizer = AdamW(groups, lr=solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY, fused=fused)
    elif solver.OPTIMIZER == "SGD":
        decay = solver.WEIGHT_DECAY
        optimizer = SGD(groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM, weight_decay=decay, fused=fused)
    else:
        raise ValueError(f"unknown SOLVER.OPTIMIZER {solver.OPTIMIZER!r}; known: {', '.join(OPTIMIZERS)}")
    count = sum(parameter.numel() for parameter in trained)
    logger.info(f"{solver.OPTIMIZER} trains {len(trained)} parameters, {count / 1e6:.2f} M numbers")
    return optimizer


def fitted_state(saved: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """A saved state of an optimizer, in the groups of this one: earlier ones had one, with "name", for each parameter.

    Groups keep the settings that they have here, such as whether they are fused: a run may change its device.

    Raises:
        ValueError: of another optimizer, other parameters, rates or decays; for after "... is of a run that ".
    """
    before: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for group in saved["param_groups"]:
        for name, index in zip(group.get("names") or [group.get("name")], group["params"]):  # noqa: B905 (of strangers)
            before[name] = index, group
    names = [name for group in optimizer.param_groups for name in group["names"]]
    if before.keys() != set(names):
        odd = min(str(name) for name in before.keys() ^ set(names))
        raise ValueError(
            f"trained {len(before)} parameters, this config trains {len(names)}, {odd} in one of them alone: "
            "set CLIP_FINETUNE and BACKBONE_MULTIPLIER as that run had them"
        )
    for group in optimizer.param_groups:
        for name in group["names"]:
            _check_settings(name, before[name][1], group)
    groups, numbers = [], iter(range(len(names)))
    for group in optimizer.param_groups:
        groups.append({**group, "params": [next(numbers) for _ in group["names"]]})
    indices = enumerate(before[name][0] for name in names)
    state = {number: saved["state"][index] for number, index in indices if index in saved["state"]}
    return {"state": state, "param_groups": groups}


def _check_settings(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if ("betas" in before) != ("betas" in now):
        kinds = [OPTIMIZERS["betas" not in group] for group in (before, now)]
        raise ValueError(f"had SOLVER.OPTIMIZER {kinds[0]}, this config has {kinds[1]}: set it as that run had it")
    for key, what in (("initial_lr", "rate"), ("weight_decay", "decay")):
        if before.get(key) != now.get(key):
            raise ValueError(
                f"trained {name} with a {what} of {before.get(key)}, this config has {now.get(key)}: set BASE_LR, "
                "CLIP_MULTIPLIER, BACKBONE_MULTIPLIER and WEIGHT_DECAY* of SOLVER as that run had them"
            )


def clip_gradients(model: nn.Module, clipping: CfgNode) -> Tensor:
    """Clip in place as SOLVER.CLIP_GRADIENTS says: all gradients by their common norm ("full_model", published), or
    parameter by parameter.

    Returns the norm of all gradients before, without waiting for a GPU.
    """
    # In the model's order: a norm is a sum, and rounds by its order.
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    whole = clipping.ENABLED and clipping.CLIP_TYPE == "full_model"
    norm = clip_grad_norm_(parameters, clipping.CLIP_VALUE if whole else math.inf, clipping.NORM_TYPE)
    if clipping.ENABLED and not whole:
        for parameter in parameters:
            if clipping.CLIP_TYPE == "norm":
                clip_grad_norm_(parameter, clipping.CLIP_VALUE, clipping.NORM_TYPE)
            else:
                clip_grad_value_(parameter, clipping.CLIP_VALUE)
    return norm
