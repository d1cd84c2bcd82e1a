"""Packaged models: one safetensors file that holds a model's tensors and the config that builds it, to be passed on.

Imports the seam, safetensors and yaml. Such files come from strangers: nothing in one is run, and the config is read as
plain YAML of a bounded size.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ovss.d2.api import CfgNode, get_cfg
from ovss.d2.catalog import FOLDER
from ovss.files import write_atomic

SUFFIX = ".safetensors"
FORMAT = "1"
# Names in the file's metadata.
FORMAT_KEY, CONFIG_KEY = "ovss.format", "ovss.config"
MAX_CONFIG_LENGTH = 256 * 1024
MAX_CONFIG_DEPTH = 16
# Settings of the machine and of its folders: neither written nor, from a stranger's file, read. Likewise the paths of
# weights and of class files.
_LOCAL = {
    "MODEL.DEVICE",
    "MODEL.CHECKPOINTING",
    "MODEL.COMPILE",
    "MODEL.MEMORY_BUDGET",
    "TEST.PRECISION",
    "OUTPUT_DIR",
    "DATALOADER.NUM_WORKERS",
    "DATASETS.FOLDER",
    "WANDB",
}


def save_model(path: str | Path, model: nn.Module, cfg: CfgNode) -> None:
    """Write a model that `build_model(cfg)` built, in one piece or not at all.

    The config in it is whole but for settings of this machine, and for keys of the engine that stand at its defaults:
    what one engine writes the other reads.

    Raises:
        ValueError: a path without the suffix of the format.
        OSError: it cannot be written there.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"packaged model {path}: the name must end in {SUFFIX}")
    config = json.loads(json.dumps(cfg))  # plain and without shared parts, which YAML would write as references
    defaults = json.loads(json.dumps(get_cfg()))
    text = yaml.safe_dump(_portable(config, defaults), sort_keys=True, allow_unicode=True)
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    metadata = {FORMAT_KEY: FORMAT, CONFIG_KEY: text}
    try:
        write_atomic(path, lambda file: save_file(tensors, file.name, metadata))
    except SafetensorError as error:  # of the disk, whose number is in its words
        if number := re.search(r"(?:os error|code:) (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


def read_config(path: str | Path) -> dict[str, Any]:
    """The config in a packaged model, as nested plain values; the tensors are not read.

    Raises:
        ValueError: no such file, a damaged or truncated one, no config in it, or one that is not plain YAML.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"packaged model {path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"packaged model {path}: damaged, truncated, or no {SUFFIX} file ({error})") from error
    if CONFIG_KEY not in metadata:
        raise ValueError(f"{path} holds no config: give --config-file beside MODEL.WEIGHTS {path}")
    if metadata.get(FORMAT_KEY) != FORMAT:
        found = metadata.get(FORMAT_KEY)
        raise ValueError(f"packaged model {path} is of format {found}, but this version reads format {FORMAT}")
    try:
        return _portable(_plain_yaml(metadata[CONFIG_KEY]))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"packaged model {path}: its config is not plain YAML: {error}") from error


def _plain_yaml(text: str) -> dict[str, Any]:
    if len(text) > MAX_CONFIG_LENGTH:
        raise ValueError(f"{len(text)} characters, more than the {MAX_CONFIG_LENGTH} that a config may have")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        # A few lines of references to references can stand for more values than fit into memory.
        if isinstance(event, yaml.AliasEvent) or depth > MAX_CONFIG_DEPTH:
            raise ValueError("it refers to its own parts, or is nested too deep")
    content = yaml.safe_load(text)
    if not isinstance(content, dict):
        raise ValueError("expected keys and values")
    return content


def _portable(node: Mapping, defaults: Mapping = MappingProxyType({}), prefix: str = "") -> dict[str, Any]:
    """What of a config one machine tells another: settings that are not at their defaults, and none of its own."""
    kept: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if name in _LOCAL or name.endswith("WEIGHTS") or _is_class_file(name, value):
            continue
        if name in ("DATASETS.TRAIN", "DATASETS.TEST") and isinstance(value, list):
            value = [dataset for dataset in value if dataset != FOLDER]
        if isinstance(value, dict):
            inner = _portable(value, defaults.get(key, {}), f"{name}.")
            kept.update({key: inner} if inner else {})
        elif key not in defaults or value != defaults[key]:
            kept[key] = value
    return kept


def _is_class_file(name: str, value: object) -> bool:
    return name == "MODEL.VOCABULARY" and str(value).lower().endswith((".json", ".txt"))
