"""The table of preparations: what `ovss datasets prepare NAME` runs. Standard library only; sets load when used."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ovss.datasets.plan import Plan


class Preparation(NamedTuple):
    """A set that can be prepared.

    Attributes:
        module: has `plan(root, split) -> Plan`, which raises ValueError for sources that are missing: what to download,
            and where to put it.
        splits: all that can be asked for.
        default: those that are prepared unasked, as by CAT-Seg's scripts.
        help: one line.
    """

    module: str
    splits: tuple[str, ...]
    default: tuple[str, ...]
    help: str

    @property
    def plan(self) -> "Callable[[Path, str], Plan]":
        return importlib.import_module(self.module).plan


def missing(path: Path, reason: str, preparation: str) -> ValueError:
    """What to say where the sources of a set are not there."""
    return ValueError(f"{path}: {reason}: run `ovss datasets download {preparation}`, or see datasets/README.md")


PREPARATIONS = {
    "coco_stuff": Preparation(
        "ovss.datasets.coco_stuff", ("train", "val"), ("train", "val"), "COCO-Stuff 164k, 171 classes"
    ),
    "ade20k_150": Preparation("ovss.datasets.ade20k_150", ("train", "val"), ("val",), "ADE20K, 150 classes"),
    "ade20k_full": Preparation("ovss.datasets.ade20k_full", ("train", "val"), ("val",), "ADE20K, 847 classes"),
    "pascal_context_59": Preparation(
        "ovss.datasets.pascal_context_59", ("train", "val"), ("val",), "PASCAL-Context, 59 classes"
    ),
    "pascal_context_459": Preparation(
        "ovss.datasets.pascal_context_459", ("train", "val"), ("val",), "PASCAL-Context, 459 classes"
    ),
    "voc": Preparation(
        "ovss.datasets.voc", ("train", "val"), ("val",), "PASCAL VOC 2012, 20 classes, with and without background"
    ),
}
