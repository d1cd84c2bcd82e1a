"""The table of published weights, configs/weights.yaml: what there is, for which configs, and what is known of a file.

Standard library, yaml and `ovss.download.remote_file`. What brings the files is `ovss.weights.store`.
"""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ovss.download.remote_file import RemoteFile
from ovss.model_names import CONFIGS

UNKNOWN = "unknown"
LIMIT = 16 << 30  # bytes of a file whose size nobody published; the largest in the table has 10.2 GB


@dataclass(frozen=True)
class Weights:
    """One published file.

    Attributes:
        name: what a user calls it by, such as "cat_seg_vitb".
        title: the same for people.
        file: where it comes from, its name on disk, and its size and checksum where these were published.
        by_hand: how to get it where no program may; else "".
        licence: of the weights, as their owners say; "not stated" where they do not. licence_source: where.
        setting: the config key that takes it.
        clip: the MODEL.CLIP.NAME that it is of.
        hub: the Hugging Face repository whose copies in this machine's caches serve as well; "": none.
        configs: names of the models that it is for.
    """

    name: str
    title: str
    file: RemoteFile
    by_hand: str
    licence: str
    licence_source: str
    setting: str
    clip: str
    hub: str
    configs: tuple[str, ...]

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        return self.by_hand or self.file.url


@functools.cache
def _content() -> Mapping[str, Any]:
    return yaml.safe_load((CONFIGS / "weights.yaml").read_text(encoding="utf-8"))


def _entry(name: str, row: Mapping[str, Any]) -> Weights:
    url, sha256 = row.get("url", ""), row.get("sha256", "")
    file = RemoteFile(
        url=url.format(sha256=sha256),
        name=row.get("file") or url.rpartition("/")[2],
        size=row.get("size"),
        checksum=sha256 and f"sha256:{sha256}",
        published=row.get("published", ""),
        limit=LIMIT,
    )
    return Weights(
        name=name,
        title=row["title"],
        file=file,
        by_hand=row.get("by_hand", ""),
        licence=row["licence"],
        licence_source=row["licence_source"],
        setting=row["setting"],
        clip=row["clip"],
        hub=row.get("hub", ""),
        configs=tuple(row["configs"]),
    )


@functools.cache
def entries() -> dict[str, Weights]:
    """All entries by name, in the order of the file."""
    return {name: _entry(name, row) for name, row in _content()["weights"].items()}


def without() -> Mapping[str, str]:
    """Names of the models that nothing can be downloaded for, and why."""
    return _content()["without"]


def find(name: str) -> Weights:
    """The entry of a name, or of the model of that name (`cat_seg/vitb_384`).

    Raises:
        ValueError: no such name, with the nearest one, or nothing to download for that model.
    """
    if name in entries():
        return entries()[name]
    if name in without():
        raise ValueError(f"{name} has no published weights: {without()[name]}")
    for_models = {model: entry for entry in reversed(entries().values()) for model in entry.configs}
    if name in for_models:
        return for_models[name]
    near = difflib.get_close_matches(name, [*entries(), *for_models], n=1)
    advice = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"no published weights are called {name!r}; {advice}`ovss weights list` has all names")


def default_for(config: str) -> Weights | None:
    """What a model of `ovss.list_models()` runs with by default; None: nothing was published for it.

    Raises:
        ValueError: no such model.
    """
    return None if config in without() else find(config)


def for_clip(clip: str) -> Weights:
    """The published weights of a MODEL.CLIP.NAME. Raises ValueError for a CLIP that has none."""
    for entry in entries().values():
        if (entry.clip, entry.setting) == (clip, "MODEL.CLIP.WEIGHTS"):
            return entry
    raise ValueError(f"no published weights of a CLIP called {clip!r}")
