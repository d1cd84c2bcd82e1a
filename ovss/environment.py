"""What this installation is: versions, devices, engine, extras, caches. For `ovss info` and for reports of problems."""

import importlib.metadata
import os
import platform
from contextlib import suppress
from pathlib import Path

import torch
from packaging.requirements import Requirement

from ovss import __version__
from ovss.d2.api import ENGINE
from ovss.datasets.table import root
from ovss.files import cache_folder
from ovss.weights.store import offline

PACKAGES = ("torch", "torchvision", "open_clip_torch", "fvcore", "iopath", "numpy", "Pillow", "opencv-python-headless")
NOT_FOR_USERS = ("test", "docs")  # extras of those who work on the project


def environment() -> dict[str, str | list[str]]:
    """Each fact by its name; a list where there are several."""
    return {
        "ovss": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "engine": ENGINE,
        "packages": [f"{name} {_version(name)}" for name in PACKAGES],
        "extras": _extras(),
        "devices": _devices(),
        "cpu threads": str(torch.get_num_threads()),
        "cache": _there(cache_folder(), f" ({_size(cache_folder()) / 2**20:.0f} MiB)"),
        "data sets": _there(root()),
        "offline": "yes (HF_HUB_OFFLINE)" if offline() else "no",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _extras() -> list[str]:
    """The packages of each extra, as setup.cfg names them."""
    told = importlib.metadata.metadata("ovss")
    needed = [Requirement(text) for text in importlib.metadata.requires("ovss") or ()]
    lines = []
    for extra in sorted(set(told.get_all("Provides-Extra") or ()) - set(NOT_FOR_USERS)):
        names = [each.name for each in needed if each.marker and each.marker.evaluate({"extra": extra})]
        lines.append(f"{extra}: {', '.join(f'{name} {_version(name)}' for name in names)}")
    return lines


def _devices() -> list[str]:
    names = [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    return [*names, f"cpu {torch.backends.cpu.get_cpu_capability()}"]


def _there(path: Path, told: str = "") -> str:
    return f"{path}{told if path.is_dir() else ' (not there)'}"


def _size(folder: Path) -> int:
    """Bytes of the files in it; other programs may remove some meanwhile."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.stat(os.path.join(path, name)).st_size
    return size
