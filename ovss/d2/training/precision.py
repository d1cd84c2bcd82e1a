"""In which numbers a training step computes: SOLVER.AMP. Imports torch and the seam."""

import torch

from ovss.d2.api import CfgNode

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast_dtype(cfg: CfgNode, device: torch.device) -> torch.dtype | None:
    """What autocast computes in on this device, None where it is off.

    Raises:
        ValueError: an unknown SOLVER.AMP.DTYPE, or one that the device computes slowly or not at all.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    name = cfg.SOLVER.AMP.DTYPE
    if name not in DTYPES:
        raise ValueError(f"unknown SOLVER.AMP.DTYPE {name!r}; known: {', '.join(DTYPES)}")
    if name == "bfloat16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise ValueError(
            f"SOLVER.AMP.DTYPE bfloat16, but {torch.cuda.get_device_name(device)} has no units for it: take float16"
        )
    return DTYPES[name]


def with_engine_amp(cfg: CfgNode, enabled: bool) -> CfgNode:
    """A copy of a config with another SOLVER.AMP.ENABLED: Detectron2's trainer shall not do what the step does."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.AMP.ENABLED = enabled
    cfg.freeze()
    return cfg
