"""Save and load checkpoints, which are read without executing anything. Imports fvcore and torch."""

from typing import Any

import torch
from fvcore.common.checkpoint import Checkpointer
from safetensors.torch import load_file
from torch import nn

from ovss.d2.lite import comm
from ovss.d2.lite.file_io import PathManager

_TORCH_SUFFIXES = (".pth", ".pt", ".bin")


class DetectionCheckpointer(Checkpointer):
    """fvcore's checkpointer, saving on the main process only and reading tensors only."""

    def __init__(self, model: nn.Module, save_dir: str = "", *, save_to_disk: bool | None = None, **parts: Any):
        save_to_disk = comm.is_main_process() if save_to_disk is None else save_to_disk
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **parts)
        self.path_manager = PathManager

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a local file or URL ("" loads nothing); keys missing, unknown or of another shape are warned of.

        Raises:
            ValueError: no such file, or not a file of tensors in one of the two formats; the message names the file.
        """
        if path:
            path = PathManager.get_local_path(path)
            if not PathManager.isfile(path):
                raise ValueError(f"checkpoint {path}: no such file; check MODEL.WEIGHTS or last_checkpoint")
        return super().load(path, checkpointables)

    def _load_file(self, filename: str) -> dict[str, Any]:
        """Return {"model": name -> tensor, ...}; a file that is itself name -> tensor is taken as the model."""
        expected = "expected tensors in a .safetensors file or in a .pth file written by torch.save"
        try:
            if filename.endswith(".safetensors"):
                content: Any = load_file(filename)
            elif filename.endswith(_TORCH_SUFFIXES):
                content = torch.load(filename, map_location="cpu", weights_only=True)
            else:
                raise ValueError(f"unknown kind of file, known are .safetensors, {', '.join(_TORCH_SUFFIXES)}")
        except Exception as error:  # each format fails in its own ways, all with the same meaning
            raise ValueError(f"checkpoint {filename}: {expected}: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"checkpoint {filename}: {expected}, found a {type(content).__name__}")
        return content if "model" in content else {"model": content}
