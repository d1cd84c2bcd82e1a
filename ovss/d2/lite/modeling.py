"""The registry of whole models and the function that builds the one that a config names."""

import torch
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry
from torch import nn

META_ARCH_REGISTRY = Registry("META_ARCH")


def build_model(cfg: CfgNode) -> nn.Module:
    """Build `cfg.MODEL.META_ARCHITECTURE` on `cfg.MODEL.DEVICE` and load no weights; KeyError for an unknown name."""
    return META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg).to(torch.device(cfg.MODEL.DEVICE))
