"""Loading a config, with errors for people."""

import difflib
import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ovss.d2.api import CfgNode, comm, get_cfg
from ovss.d2.config_keys import add_ovss_config
from ovss.d2.package import SUFFIX, read_config

logger = logging.getLogger(__name__)
# Settings by dotted key, and those of the file that they change or None for a file -> this project's settings, and what
# became of those with foreign names ("" where there are none).
Translate = Callable[[Mapping[str, Any], Mapping[str, Any] | None], tuple[dict[str, Any], str]]
_notes: list[str] = []


def load_config(
    config_file: str, opts: Sequence[str] = (), systems: Sequence = (), translate: Translate | None = None
) -> CfgNode:
    """Read a file and KEY VALUE overrides into a frozen config; `systems` add their keys (`add_*_config`).

    The file is YAML, or a packaged model (`ovss.d2.package`), which then is MODEL.WEIGHTS too. `translate` turns
    settings under the names of a system's authors into this project's; the log says so once.

    Raises:
        ValueError: unreadable file, unsafe YAML, unknown key (the nearest known one is named), value of another type.
    """
    cfg = get_cfg()
    for add_keys in (add_ovss_config, *systems):
        add_keys(cfg)
    base: dict[str, Any] = {}
    if Path(config_file).suffix == SUFFIX:
        base = _merge_package(cfg, config_file)
    elif config_file:
        if not Path(config_file).is_file():
            raise ValueError(f"config file {config_file}: no such file; the project's own are in configs/")
        source = f"config file {config_file}"
        base = _explained(cfg, source, lambda: _merge_yaml(cfg, config_file, translate))
    cfg.CONFIG_NAME = cfg.CONFIG_NAME or _name_of(config_file)
    if late := next((word for word in opts[::2] if word.startswith("-")), None):
        raise ValueError(f"{late} stands after the settings KEY VALUE: options come before them")
    if len(opts) % 2:
        raise ValueError(f"settings come as pairs of KEY VALUE, got {len(opts)} words: {' '.join(opts)}")
    _explained(cfg, "command line", lambda: _merge_options(cfg, opts, base, translate))
    if config_file and cfg.INPUT.FORMAT != "RGB":
        raise ValueError(f"INPUT.FORMAT {cfg.INPUT.FORMAT!r}: every model here reads 'RGB', as configs/base.yaml says")
    cfg.freeze()
    return cfg


def _name_of(config_file: str) -> str:
    """The file's path below a folder configs/, without suffix; else its name: a report tells nobody's folders."""
    parts = Path(config_file).with_suffix("").parts
    return "/".join(parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:])


def _merge_package(cfg: CfgNode, path: str) -> dict[str, Any]:
    content = read_config(path)
    try:
        _explained(cfg, f"packaged model {path}", lambda: cfg.merge_from_other_cfg(CfgNode(content)))
    except ValueError as error:
        advice = f"its config does not fit this version; give another by --config-file beside MODEL.WEIGHTS {path}"
        raise ValueError(f"{error}; {advice}") from error
    cfg.MODEL.WEIGHTS = path
    return by_dotted_key(content)


def _merge_yaml(cfg: CfgNode, path: str, translate: Translate | None) -> dict[str, Any]:
    """Merge a file and return its settings by dotted key, as they stand in it and in what it is based on."""
    settings = by_dotted_key(CfgNode.load_yaml_with_base(path, allow_unsafe=False))
    ours, note = translate(settings, None) if translate else (settings, "")
    if note:
        _say(f"{path}: {note}")
        cfg.merge_from_list([part for pair in ours.items() for part in pair])
    else:
        cfg.merge_from_file(path, allow_unsafe=False)
    return settings


def _merge_options(cfg: CfgNode, opts: Sequence[str], base: Mapping[str, Any], translate: Translate | None) -> None:
    settings = dict(zip(opts[::2], opts[1::2], strict=True))
    ours, note = translate(settings, base) if translate else (settings, "")
    if note:
        _say(f"command line: {note}")
    cfg.merge_from_list([part for pair in ours.items() for part in pair])


def take_notes() -> list[str]:
    """What loading configs has said since the last call, for a log that was opened after it."""
    taken, _notes[:] = _notes[:], []
    return taken


@functools.cache  # a program reads its config more than once
def _say(message: str) -> None:
    _notes.append(message)
    if comm.get_world_size() == 1:  # the processes of a group read what the one that started them has read
        logger.warning(message)


def _explained(cfg: CfgNode, source: str, merge: Callable[[], Any]) -> Any:
    """Run a merge; what yacs and yaml raise becomes one ValueError that says where and what to do."""
    try:
        return merge()
    except (KeyError, AssertionError) as error:
        found = re.search(r"[Nn]on-existent (?:config )?key: ([\w.]+)", str(error))
        if found is None:
            raise ValueError(f"{source}: {error}") from error
        nearest = difflib.get_close_matches(found[1], by_dotted_key(cfg), n=1, cutoff=0)
        raise ValueError(f"{source}: unknown key {found[1]}; did you mean {nearest[0]}?") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{source}: not plain YAML: {error}") from error
    except (TypeError, AttributeError) as error:  # a list, a word, a number for a name
        raise ValueError(f"{source}: expected names of settings and their values ({error})") from error
    except ValueError as error:
        raise ValueError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from error


def by_dotted_key(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a tree of settings by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat.update(
            by_dotted_key(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
        )
    return flat
