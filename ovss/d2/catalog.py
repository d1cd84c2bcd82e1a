"""Data sets in the catalog: the benchmarks, the embedded scenes, one's own folder. Records name files, read later."""

import difflib
import inspect
from pathlib import Path

from ovss import drawing, scenes
from ovss.cache import cache_folder, key_of
from ovss.d2 import benchmarks
from ovss.d2.api import CfgNode, DatasetCatalog, MetadataCatalog
from ovss.datasets.pairs import pair_by_stem
from ovss.vocabulary import Vocabulary

FOLDER = "folder"


def register(name: str, records, vocabulary: Vocabulary, ignore_label: int, **metadata: object) -> None:
    """Enter a data set: `records` is called when it is used. An entry of the same name is replaced."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, records)
    MetadataCatalog.get(name).set(
        evaluator_type="sem_seg",
        vocabulary=vocabulary,
        stuff_classes=list(vocabulary.classes),
        ignore_label=ignore_label,
        **metadata,
    )


def check_name(name: str, key: str) -> None:
    """Raise ValueError, naming the nearest known one, for a data set of the config's `key` that has no words."""
    known = [known for known in DatasetCatalog.list() if MetadataCatalog.get(known).get("vocabulary")]
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise ValueError(f"{key} names {name!r}, which is no data set with words; did you mean {nearest[0]!r}?")


def register_benchmarks() -> None:
    """Enter every row of `ovss.datasets.table` under its own and its official names."""
    for name, entry in benchmarks.entries():
        register(name, **entry)


def _scene_records(split: str) -> list[dict[str, str]]:
    """Records of a split of the scenes, drawn at the first use into a folder that depends on the drawing code."""
    code = key_of(*(inspect.getsource(module) for module in (drawing, scenes)))
    folder = scenes.write_split(cache_folder() / "scenes" / code[:12], split)
    return pair_by_stem(folder / "images", folder / "labels")


def register_scenes() -> None:
    """Enter the embedded data set as scenes_<split>, each split with its own classes.

    Scores are also given over the seen and over the unseen pairs, where a split has any of them.
    """
    groups = {"seen": scenes.SEEN, "unseen": scenes.UNSEEN}
    for name, split in scenes.SPLITS.items():
        own = {group: pairs for group, pairs in groups.items() if set(pairs) <= set(split.pairs)}
        vocabulary = Vocabulary.from_words(split.classes)
        register(f"scenes_{name}", lambda name=name: _scene_records(name), vocabulary, 255, class_groups=own)


def register_folder(cfg: CfgNode) -> None:
    """Enter the user's own folders of cfg.DATASETS.FOLDER as "folder", where DATASETS.TEST or TRAIN names it.

    Raises:
        ValueError: a path is missing or does not fit.
    """
    if FOLDER not in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        return
    node = cfg.DATASETS.FOLDER
    for key in ("IMAGES", "LABELS", "CLASSES"):
        if not node[key]:
            raise ValueError(
                f"the data set {FOLDER!r} is asked for, but DATASETS.FOLDER.{key} is empty: give it a path"
            )
    vocabulary = Vocabulary.from_file(node.CLASSES)
    records = pair_by_stem(Path(node.IMAGES), Path(node.LABELS))
    register(FOLDER, lambda: records, vocabulary, node.IGNORE_LABEL)


register_scenes()
register_benchmarks()
