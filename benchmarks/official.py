"""The authors' codes, made runnable beside this project's on any device, for `--official FOLDER`.

FOLDER holds checkouts named as their repositories are: CAT-Seg (KU-CVLAB), CLIPtrase (leaves162) and detectron2
(facebookresearch, as it is: no compiled part is needed). Packages that they need and this project does not (einops,
omegaconf, hydra-core, antlr4-python3-runtime 4.9) may lie in FOLDER/packages (`pip install --no-deps --target`).
Nothing of theirs is copied; what has to be changed is changed in memory, in the process of one row.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# Of their CLIP.
VIT_B16 = {
    "embed_dim": 512,
    "image_resolution": 224,
    "vision_layers": 12,
    "vision_width": 768,
    "vision_patch_size": 16,
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 512,
    "transformer_heads": 8,
    "transformer_layers": 12,
}


def enter(folder: str, *checkouts: str) -> None:
    """Let checkouts be imported before all else, and their code run without a GPU and with newer packages.

    Raises:
        ValueError: a checkout is not there.
    """
    here = sorted({"cat_seg", "cliptrase"} & sys.modules.keys())
    assert not here, f"this project's {here} would be taken for the authors'"
    root = Path(folder).resolve()
    for checkout in checkouts:
        if not (root / checkout).is_dir():
            raise ValueError(f"--official {folder}: there is no folder {checkout} in it")
    sys.path[:0] = [str(root / checkout) for checkout in checkouts]
    sys.path.append(str(root / "packages"))
    if importlib.util.find_spec("pkg_resources") is None:  # gone from setuptools since release 81
        module: Any = types.ModuleType("pkg_resources")
        module.packaging = importlib.import_module("packaging")
        importlib.import_module("packaging.version")
        sys.modules["pkg_resources"] = module
    if not torch.cuda.is_available():
        for kind in (Tensor, nn.Module):
            kind.cuda = lambda self, *_, **__: self  # type: ignore
