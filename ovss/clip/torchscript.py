"""Read the tensors of a TorchScript archive, OpenAI's form of CLIP's weights, without running any of its code.

`torch.jit.load` compiles and may run code that the archive brings. Here the archive's pickle is read by an unpickler
that knows three constructors (a plain holder for every scripted module, ordered dicts, tensors) and refuses all else.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "HalfStorage": torch.float16,
    "FloatStorage": torch.float32,
    "LongStorage": torch.int64,
    "BFloat16Storage": torch.bfloat16,
}


MAX_DEPTH = 32
MAX_PICKLE_BYTES = 64 * 1024 * 1024


class _Module:
    """Stands for any scripted module; its attributes are sub-modules and tensors."""


def _tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """A strided view; torch refuses one that reaches beyond the storage."""
    return torch.as_strided(storage, size, stride, offset)


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str):
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch.jit._pickle":
            return list  # build_intlist and its kind
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of weights needs")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype_name, key, _, count = pid
        entry = self._archive.getinfo(f"{self._root}/data/{key}")
        dtype = _DTYPES[dtype_name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != count * dtype.itemsize:
            raise pickle.UnpicklingError(
                f"tensor {key} is packed, or has {entry.file_size} bytes instead of {count * dtype.itemsize}"
            )
        data = self._archive.read(entry)
        return torch.frombuffer(bytearray(data), dtype=dtype) if count else torch.empty(0, dtype=dtype)


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive (a zip with constants beside its data)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of a TorchScript archive under their dotted names, in their stored precision.

    Raises:
        pickle.UnpicklingError, KeyError, ...: the archive is damaged or holds something else than weights.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name.rsplit("/", 1)[0] for name in archive.namelist() if name.endswith("/data.pkl"))
        if archive.getinfo(f"{root}/data.pkl").file_size > MAX_PICKLE_BYTES:
            raise pickle.UnpicklingError("its list of tensors is larger than any model's")
        module = _Unpickler(archive, root).load()
    tensors: dict[str, Tensor] = {}
    pending: list[tuple[str, Any]] = [("", module)]
    while pending:
        prefix, value = pending.pop()
        if isinstance(value, _Module):
            if prefix.count(".") > MAX_DEPTH:
                raise pickle.UnpicklingError("its modules contain each other")
            pending += [(f"{prefix}.{name}" if prefix else name, child) for name, child in vars(value).items()]
        elif isinstance(value, Tensor):
            tensors[prefix] = value
    return tensors
