"""Weights for a CLIP: a file or folder, the published ones, or embedded. Every tensor is used exactly once.

Forms read: OpenAI's `.pt` (TorchScript, or a plain state dict), open_clip's `.bin`, `.pt` and `.safetensors`, a folder
that holds one of them, and CLIPtrase's re-keyed checkpoint (`clip_visual_extractor.*`, `ov_classifier.*`). No file's
code is run.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ovss.clip.keys import from_openai_keys, misfit
from ovss.clip.model import ARCHITECTURES, ASSETS, CLIP, TINY, architecture_config
from ovss.clip.torchscript import is_torchscript, read_torchscript
from ovss.weights import store, table

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def load_clip(name: str, weights: str | Path = "") -> CLIP:
    """Build a named CLIP in float32 and load its weights, strictly.

    Args:
        name: an architecture of `ovss.clip.model.ARCHITECTURES`, or "tiny".
        weights: a file, a folder or a name of `ovss.weights.table`; empty: the published weights, found in a cache or
            downloaded once (`ovss.weights.store.fetch`; embedded for "tiny").

    Raises:
        ValueError: unknown name; a missing, damaged or hostile file; a checkpoint of another architecture.
        ConnectionError: nothing local and no way to download.
    """
    config = architecture_config(name)
    path = find_weights(weights) if weights else _published(name)
    state = read_weights(path)
    with torch.device("meta"):
        clip = CLIP(config)
    _check(clip, state, name, path)
    clip.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return clip.eval()


def find_weights(path: str | Path) -> Path:
    """The file itself, the one file of weights in a folder, or the published file of that name, which is fetched."""
    path = store.resolve(path)
    if path.is_file():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    safe = [file for file in files if file.suffix == ".safetensors"]
    if len(safe or files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise ValueError(
            f"weights {path}: expected one file of weights ({', '.join(_SUFFIXES)}) in this folder, "
            f"found {found}: name the file"
        )
    return (safe or files)[0]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a CLIP of any supported form into this project's keys. Raises ValueError, naming the file."""
    tensors = read_tensors(path)
    try:
        return from_openai_keys(tensors)
    except ValueError as error:
        raise ValueError(f"weights {path}: {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file under the names that it gives them. Raises ValueError, naming the file."""
    return model_tensors(read_content(path), path)


def read_content(path: Path) -> Any:
    """All that a file holds, on the CPU; nothing in it is run. Raises ValueError, naming the file."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_torchscript(path):
            return read_torchscript(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"weights {path}: holds something else than tensors, which is never run or read") from error
    except Exception as error:  # damaged files fail in many ways: zipfile, struct, zlib, pickle, torch, safetensors
        raise ValueError(f"weights {path}: damaged, or not a file of weights ({_first_line(error)})") from error


def model_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The model's named tensors in the content of the file `path`. Raises ValueError, naming the file."""
    state = content
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights {path}: holds no state dict of tensors")
    wrong = [key for key, value in state.items() if not isinstance(key, str) or value.is_complex()]
    if wrong:
        raise ValueError(f"weights {path}: {wrong[0]!r} is not the name of a tensor of real numbers")
    return dict(state)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__


def _check(clip: CLIP, state: Mapping[str, Tensor], name: str, path: Path) -> None:
    """Every tensor of the file used exactly once, every parameter given, all shapes equal; else say what differs."""
    problem = misfit(clip.state_dict(), state)
    if not problem:
        wrong = [key for key, value in state.items() if not value.isfinite().all()]
        if wrong:
            raise ValueError(f"weights {path}: {wrong[0]} holds values that are not finite")
        return
    fitting = [other for other in (*ARCHITECTURES, TINY) if other != name and _fits(other, state)]
    advice = f"; it fits MODEL.CLIP.NAME {' or '.join(fitting)}" if fitting else ""
    raise ValueError(f"weights {path} are not those of a {name}: {problem}{advice}")


def _fits(name: str, state: Mapping[str, Tensor]) -> bool:
    with torch.device("meta"):
        expected = CLIP(architecture_config(name)).state_dict()
    return {key: value.shape for key, value in expected.items()} == {key: value.shape for key, value in state.items()}


def _published(name: str) -> Path:
    """The published weights, or those embedded in the package."""
    if name == TINY:
        return ASSETS / "tiny_clip.safetensors"
    try:
        return store.fetch(table.for_clip(name).name)
    except ConnectionError as error:
        raise ConnectionError(
            f"no weights for {name}: {error}; or give a file or folder: MODEL.CLIP.WEIGHTS"
        ) from error
