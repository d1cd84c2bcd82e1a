"""Tensors on disk under a key of all that they depend on. Safe with many processes, and with a process that dies.

The folder is `ovss.files.cache_folder()`. Files are safetensors: reading one runs no code.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from iopath.common.file_io import file_lock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ovss.files import cache_folder, write_atomic

logger = logging.getLogger(__name__)


def key_of(*parts: str) -> str:
    """A hexadecimal key; any change of any part, or of where one part ends, gives another."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def fingerprint(module: torch.nn.Module) -> str:
    """A key of a module's parameters and buffers: names, shapes, types, values.

    Values are digested by SHA-256, which processors have instructions for, several tensors at a time.
    """
    state = module.state_dict()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(_digest, state.values()))
    described = zip(state.items(), digests, strict=True)
    return key_of(*(f"{name} {tuple(value.shape)} {value.dtype} {digest}" for (name, value), digest in described))


def _digest(value: Tensor) -> str:
    values = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(values.numpy().data).hexdigest()


def cached_tensor(kind: str, key: str, compute: Callable[[], Tensor]) -> Tensor:
    """Return the tensor stored under `kind` and `key`, else compute and store it, on the CPU.

    Of many processes that ask at once one computes and the others wait. A damaged entry is computed again. A folder
    that cannot be written is said in the log, and nothing is stored.
    """
    path = cache_folder() / kind / f"{key}.safetensors"
    if (stored := _read(path)) is not None:
        return stored
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = file_lock(str(path))
        lock.acquire()
    except OSError as error:
        return _without_storing(path, error, compute().detach().cpu().contiguous())
    try:
        stored = _read(path)
        if stored is None:
            stored = compute().detach().cpu().contiguous()
            _write(path, stored)
        return stored
    finally:
        lock.release()


def _write(path: Path, stored: Tensor) -> None:
    try:
        write_atomic(path, lambda file: save_file({"tensor": stored}, file.name))
    except (OSError, SafetensorError) as error:  # a full disk
        _without_storing(path, error, stored)


def _without_storing(path: Path, error: Exception, computed: Tensor) -> Tensor:
    logger.warning("cache %s cannot be written (%s): going on without; OVSS_CACHE names another", path.parent, error)
    return computed


def _read(path: Path) -> Tensor | None:
    if not path.is_file():
        return None
    try:
        return load_file(path)["tensor"]
    except (OSError, SafetensorError, KeyError) as error:
        logger.warning("cache entry %s is damaged (%s): computing it again", path, error)
        return None
