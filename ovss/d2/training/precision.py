"""In which numbers a training step computes: SOLVER.AMP. Imports torch and the seam."""

import torch

from ovss.d2.api import CfgNode
from ovss.precision import half


def autocast_dtype(cfg: CfgNode, device: torch.device) -> torch.dtype | None:
    """What autocast computes in on this device, None where it is off.

    Raises:
        ValueError: an unknown SOLVER.AMP.DTYPE, or one that the device computes slowly or not at all.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    return half(cfg.SOLVER.AMP.DTYPE, "SOLVER.AMP.DTYPE", device)


def with_engine_amp(cfg: CfgNode, enabled: bool) -> CfgNode:
    """A copy of a config with another SOLVER.AMP.ENABLED: Detectron2's trainer shall not do what the step does."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.AMP.ENABLED = enabled
    cfg.freeze()
    return cfg
