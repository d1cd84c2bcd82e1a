"""The table of benchmarks: a row says where a set lies and how its labels are read. Standard library only.

Folders and names are those of the two systems' own registrations (CAT-Seg: cat_seg/data/datasets, CLIPtrase:
cliptrase_d2/cliptrase/data/datasets and configs/dataset_cfg.py); numbers of pictures are those of the official sets.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

Layout = tuple[str, str]
CLASSES = Path(__file__).parent / "classes"  # class files, `ovss.class_file`
SPLITS = Path(__file__).parent / "splits"  # lists of pictures, one name without suffix a line


@dataclass(frozen=True)
class Benchmark:
    """One set of pictures with labels, below the root of the data sets.

    Attributes:
        name: as it stands in DATASETS.TEST and DATASETS.TRAIN.
        classes: stem of its class file, see `class_file`.
        layouts: (pictures, labels) folders below the root. Preparation writes the first; the first that exists is used.
        pictures: how many the official set has.
        preparation: name for `ovss datasets prepare`.
        label_suffix, ignore_label: of the prepared label images.
        shared_pictures: the folder holds more pictures than this set's; the labels say which belong to it.
        label_map: (value, new value) pairs, all applied at once when labels are read.
        category_offset: what makes COCO's category ids of the ids of the class file; None: it has no such ids.
        names: official names by system ("cat_seg", "cliptrase"), of sets with that system's variant of the class file.
    """

    name: str
    classes: str
    layouts: tuple[Layout, ...]
    pictures: int
    preparation: str
    label_suffix: str = ".png"
    ignore_label: int = 255
    shared_pictures: bool = False
    label_map: tuple[tuple[int, int], ...] = ()
    category_offset: int | None = None
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def class_file(self) -> Path:
        return CLASSES / f"{self.classes}.json"

    @property
    def split(self) -> str:
        """What every name of the table ends with: "train" or "val"."""
        return self.name.rsplit("_", 1)[1]

    @property
    def prepare_command(self) -> str:
        return f"ovss datasets prepare {self.preparation} --split {self.split}"

    @property
    def all_names(self) -> tuple[str, ...]:
        """Its own name first."""
        return (self.name, *(name for names in self.names.values() for name in names))

    def folders(self, root: Path) -> tuple[Path, Path] | None:
        """The pictures and labels of the first layout of which both folders exist; None where none does."""
        found = ((root / pictures, root / labels) for pictures, labels in self.layouts)
        return next((pair for pair in found if pair[0].is_dir() and pair[1].is_dir()), None)


def root() -> Path:
    """The folder of all data sets: $DETECTRON2_DATASETS, else "datasets" in the working directory."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def _names(cat_seg: str = "", cliptrase: str = "") -> dict[str, tuple[str, ...]]:
    return {system: tuple(names.split()) for system, names in (("cat_seg", cat_seg), ("cliptrase", cliptrase)) if names}


def _coco(split: str) -> tuple[Layout, ...]:
    return (
        (f"coco-stuff/images/{split}2017", f"coco-stuff/annotations_detectron2/{split}2017"),
        (f"coco/{split}2017", f"coco/stuffthingmaps_detectron2/{split}2017"),
    )


def _ade(folder: str, images: str, split: str) -> tuple[Layout, ...]:
    return ((f"{folder}/{images}/{split}", f"{folder}/annotations_detectron2/{split}"),)


def _context(classes: int, other: str, split: str) -> tuple[Layout, ...]:
    folder = "VOCdevkit/VOC2010"
    return (
        (f"{folder}/JPEGImages", f"{folder}/annotations_detectron2/pc{classes}_{split}"),
        (f"{other}/{split}/image", f"{other}/{split}/label"),
    )


def _voc(split: str, kind: str = "") -> tuple[Layout, ...]:
    labels = f"annotations_detectron2{kind}/{split}"
    folders = (
        ("VOCdevkit/VOC2012", "JPEGImages"),
        ("VOC2012", "JPEGImages"),
        ("VOC2012", f"images_detectron2/{split}"),
    )
    return tuple((f"{folder}/{images}", f"{folder}/{labels}") for folder, images in folders)


_COCO_STUFF = Benchmark(
    "coco_stuff_train", "coco_stuff", _coco("train"), 118287, "coco_stuff", category_offset=1,
    names=_names("coco_2017_train_stuff_all_sem_seg", "coco_2017_train_stuff_sem_seg COCO171_train"),
)  # fmt: skip
# Of the 171 values the 80 things stay; stuff is background, and so is what has no label (GroupViT, whose set it is).
_COCO_OBJECT = Benchmark(
    "coco_object_val", "coco_object", _coco("val"), 5000, "coco_stuff",
    label_map=(*((value, 80) for value in range(81, 171)), (255, 80)),
)  # fmt: skip
_ADE_150 = Benchmark(
    "ade20k_150_train", "ade20k_150", _ade("ADEChallengeData2016", "images", "training"), 20210, "ade20k_150"
)
_ADE_847 = Benchmark(
    "ade20k_847_train", "ade20k_847", _ade("ADE20K_2021_17_01", "images_detectron2", "training"), 25574, "ade20k_full",
    label_suffix=".tif", ignore_label=65535, names=_names(cliptrase="ade20k_full_sem_seg_train"),
)  # fmt: skip
_CONTEXT_59 = Benchmark(
    "pascal_context_59_train", "pascal_context_59", _context(59, "pcontext", "train"), 4996, "pascal_context_59",
    shared_pictures=True, names=_names(cliptrase="pcontext_sem_seg_train"),
)  # fmt: skip
# "No label" is 459 in CAT-Seg's registration and 65535 in CLIPtrase's; neither is a class.
_CONTEXT_459 = Benchmark(
    "pascal_context_459_train", "pascal_context_459", _context(459, "pcontext_full", "train"), 4996,
    "pascal_context_459", label_suffix=".tif", ignore_label=65535, shared_pictures=True, label_map=((459, 65535),),
    names=_names(cliptrase="pcontext_full_sem_seg_train"),
)  # fmt: skip
_VOC_20 = Benchmark(
    "voc_20_train", "voc_20", _voc("train"), 10582, "voc", shared_pictures=True,
    names=_names(cliptrase="voc_sem_seg_train"),
)  # fmt: skip
_VOC_20B = Benchmark(
    "voc_20b_val", "voc_20b", _voc("val", "_bg"), 1449, "voc", shared_pictures=True,
    names=_names("voc_2012_test_background_sem_seg"),
)  # fmt: skip
_CONTEXT_59_VAL = replace(
    _CONTEXT_59, name="pascal_context_59_val", layouts=_context(59, "pcontext", "val"), pictures=5104,
    names=_names("context_59_test_sem_seg", "pcontext_sem_seg_val PC59"),
)  # fmt: skip

BENCHMARKS = (
    _COCO_STUFF,
    replace(
        _COCO_STUFF, name="coco_stuff_val", layouts=_coco("val"), pictures=5000,
        names=_names("coco_2017_test_stuff_all_sem_seg", "coco_2017_test_stuff_sem_seg COCO171_val"),
    ),
    _COCO_OBJECT,
    # CLIPtrase's script takes the first stuff class alone for background and drops all others.
    replace(
        _COCO_OBJECT, name="coco_object_cliptrase_val", names=_names(cliptrase="COCO80_val"),
        label_map=(*((value, 255) for value in range(81, 171)), (255, 80)),
    ),
    _ADE_150,
    replace(
        _ADE_150, name="ade20k_150_val", layouts=_ade("ADEChallengeData2016", "images", "validation"), pictures=2000,
        names=_names("ade20k_150_test_sem_seg", "ade20k_150_sem_seg_val ADE150"),
    ),
    _ADE_847,
    replace(
        _ADE_847, name="ade20k_847_val", layouts=_ade("ADE20K_2021_17_01", "images_detectron2", "validation"),
        pictures=2000, names=_names("ade20k_full_sem_seg_freq_val_all", "ade20k_full_sem_seg_val ADEfull"),
    ),
    _CONTEXT_59,
    _CONTEXT_59_VAL,
    replace(
        _CONTEXT_59_VAL, name="pascal_context_60_val", classes="pascal_context_60", label_map=((255, 59),),
        names=_names(cliptrase="PC60"),
    ),
    _CONTEXT_459,
    replace(
        _CONTEXT_459, name="pascal_context_459_val", layouts=_context(459, "pcontext_full", "val"), pictures=5104,
        names=_names("context_459_test_sem_seg", "pcontext_full_sem_seg_val PC459"),
    ),
    _VOC_20,
    replace(
        _VOC_20, name="voc_20_val", layouts=_voc("val"), pictures=1449,
        names=_names("voc_2012_test_sem_seg", "voc_sem_seg_val VOC20"),
    ),
    _VOC_20B,
    replace(_VOC_20B, name="voc_21_val", classes="voc_21", names=_names(cliptrase="VOC21")),
)  # fmt: skip
# By own and official names.
BY_NAME = {name: row for row in BENCHMARKS for name in row.all_names}
