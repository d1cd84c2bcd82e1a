"""Translate the config keys of CAT-Seg's authors (`cat_seg.released_keys`) to ours. Plain Python, no config object.

Settings are flat, dotted key -> value, as a YAML file or the command line gives them.
"""

import ast
from collections.abc import Mapping
from typing import Any

from cat_seg import released_keys as keys
from cat_seg.released_keys import HEAD, OURS, Settings
from ovss.datasets.table import BY_NAME


def translate(settings: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> tuple[Settings, str]:
    """Our settings for those of a file, or of a command line that changes a file with the settings `base`.

    Settings that are ours already stay as they are.

    Returns: the settings, and what became of each of theirs, a line each; "" where there was none.

    Raises:
        ValueError: a key of theirs that is unknown, or a value that cannot be honoured.
    """
    if not any(_is_theirs(key) for key in settings):
        return dict(settings), ""
    for split in ("TRAIN", "TEST"):
        _check_words(split, settings, {**(base or {}), **settings}.get(f"DATASETS.{split}", ()))
    whole_model = base is None and any(key.startswith(HEAD) for key in settings)
    if whole_model:
        settings = {**keys.DEFAULTS, **settings}
    backbone = _backbone({**(base or {}), **settings})
    ours = keys.CODE | (keys.FIRST if backbone else keys.SECOND) if whole_model else {}
    source: dict[str, str] = {}
    changed: list[str] = []
    idle: dict[str, list[str]] = {}
    for key, value in settings.items():
        theirs = _is_theirs(key) or key in _SPECIAL
        answer = _answer(key, _plain(value), backbone) if theirs else {key: value}
        if isinstance(answer, str):
            idle.setdefault(answer, []).append(key)
            continue
        for name, new in answer.items():
            if name in source and ours[name] != new:
                raise ValueError(f"{source[name]} {ours[name]} and {key} {new}: both are {name} here, one value")
            ours[name], source[name] = new, key
        if key not in answer:
            changed.append(f"{key} -> {', '.join(answer)}")
    changed += [f"{', '.join(same)}: no effect, {reason}" for reason, same in idle.items()]
    return ours, "\n  ".join(["these are the names of CAT-Seg's published code, read as follows", *changed])


def _is_theirs(key: str) -> bool:
    return key.startswith(keys.PREFIXES) or key in keys.RENAMED or key in keys.NO_EFFECT or key in keys.FIXED


def _plain(value: Any) -> Any:
    """A value of the command line, which is text, as YAML would give it; tuples as lists."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return list(value) if isinstance(value, tuple) else value


def _backbone(settings: Mapping[str, Any]) -> str:
    """Our name of the appearance backbone, which makes it the first version; "" in the second."""
    name = settings.get("MODEL.BACKBONE.NAME")
    if name is None:
        return settings.get(f"{OURS}BACKBONE", "")
    if name not in keys.BACKBONES:
        raise ValueError(f"MODEL.BACKBONE.NAME {name!r} cannot be honoured; known: {', '.join(keys.BACKBONES)}")
    return keys.BACKBONES[name]


def _answer(key: str, value: Any, backbone: str) -> Settings | str:
    """Our settings for one of theirs, or why it changes nothing."""
    if key in _SPECIAL:
        return _SPECIAL[key](key, value, backbone)
    if key not in {**keys.NO_EFFECT, **keys.FIXED, **keys.RENAMED}:
        raise ValueError(f"unknown key {key}: no setting of CAT-Seg's published models is called so")
    if key.startswith(keys.BACKBONE_PREFIXES) and not key.startswith(keys.READ_BY[backbone]):
        return f"the backbone is {backbone}" if backbone else "the second version has no backbone"
    if key in keys.NO_EFFECT:
        return keys.NO_EFFECT[key]
    if key in keys.RENAMED:
        return {keys.RENAMED[key]: value}
    if value != keys.FIXED[key]:
        raise ValueError(f"{key} {value!r} cannot be honoured, only {keys.FIXED[key]!r}")
    return "the only value here too"


def _clip(key: str, name: Any, backbone: str) -> Settings:
    if name not in keys.CLIPS:
        raise ValueError(f"{key} {name!r} cannot be honoured; known: {', '.join(keys.CLIPS)}")
    ours, resolution, layers, positions = keys.CLIPS[name]
    node = {"RESOLUTION": resolution, "GUIDANCE_LAYERS": layers, "POSITIONS": positions}
    return {"MODEL.CLIP.NAME": ours} | {f"{OURS}{name}": value for name, value in node.items()}


def _pooling(key: str, value: Any, backbone: str) -> Settings:
    """One factor in both directions, for training and test alike: their test script changes it."""
    if not isinstance(value, list) or len(value) != 2 or value[0] != value[1]:
        raise ValueError(f"{key} {value} cannot be honoured, only two equal factors such as [2, 2]")
    return {f"{OURS}POOLING_TRAIN": value[0], f"{OURS}POOLING_TEST": value[0]}


def _finetune(key: str, value: Any, backbone: str) -> Settings:
    if backbone and value == "full":
        raise ValueError(f"{key} 'full' of the first version trains the image tower alone, which no mode here does")
    return {f"{OURS}CLIP_FINETUNE": "image_attention" if backbone and value == "attention" else value}


def _guidance_channels(key: str, value: Any, backbone: str) -> Settings | str:
    return "follows from the backbone" if backbone else {f"{OURS}GUIDANCE_CHANNELS": value}


def _check_words(split: str, settings: Mapping[str, Any], names: Any) -> None:
    """Raise ValueError where the words of a class file of theirs are not those of the data sets `names`."""
    key = f"{HEAD}{split}_CLASS_JSON"
    words = keys.CLASS_FILES.get(_file_name(settings.get(key)))
    sets = _plain(names)
    for name in [sets] if isinstance(sets, str) else sets:
        if words and (name not in BY_NAME or BY_NAME[name].classes != words):
            raise ValueError(
                f"{key} {settings[key]!r} has other words than {name!r} of DATASETS.{split}: "
                "a data set comes with its own; leave the key out, or name the data set that it belongs to"
            )


def _file_name(path: Any) -> str:
    return str(path).rsplit("/", 1)[-1]


def _words(key: str, path: Any, backbone: str) -> Settings | str:
    """The words of a data set come with it; other words are for pictures that bring none."""
    if _file_name(path) in keys.CLASS_FILES:
        return "the words come with the data set"
    if key == f"{HEAD}TRAIN_CLASS_JSON":
        raise ValueError(f"{key} {path!r} cannot be honoured: the words come with the data set of DATASETS.TRAIN")
    return {"MODEL.VOCABULARY": path}


def _weights(key: str, path: Any, backbone: str) -> Settings | str:
    """A checkpoint, or in the first version's files the ImageNet weights of the backbone, as Detectron2's pickle."""
    if backbone and str(path).endswith(".pkl"):
        return f"a pickle is never run; {OURS}BACKBONE_WEIGHTS takes torchvision's or timm's ImageNet weights"
    return {key: path}


_SPECIAL = {
    "MODEL.BACKBONE.NAME": lambda key, value, backbone: {f"{OURS}BACKBONE": backbone},
    "MODEL.WEIGHTS": _weights,
    f"{HEAD}CLIP_PRETRAINED": _clip,
    f"{HEAD}POOLING_SIZES": _pooling,
    f"{HEAD}CLIP_FINETUNE": _finetune,
    f"{HEAD}DECODER_GUIDANCE_DIMS": _guidance_channels,
    f"{HEAD}TRAIN_CLASS_JSON": _words,
    f"{HEAD}TEST_CLASS_JSON": _words,
}
