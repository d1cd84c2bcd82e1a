"""The project's config keys, and loading a config with errors for people. A system's keys live in its own room."""

import difflib
import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ovss.d2.api import CfgNode, comm, get_cfg
from ovss.d2.package import SUFFIX, read_config

logger = logging.getLogger(__name__)
# Settings by dotted key, and those of the file that they change or None for a file -> this project's settings, and what
# became of those with foreign names ("" where there are none).
Translate = Callable[[Mapping[str, Any], Mapping[str, Any] | None], tuple[dict[str, Any], str]]
_notes: list[str] = []


def add_ovss_config(cfg: CfgNode) -> None:
    """Add the keys that both systems share to Detectron2's."""
    # What reports call this config: by default the path of its file below configs/.
    cfg.CONFIG_NAME = ""
    # Words for pictures that bring none (demo): a class file, or words separated by commas. Data sets bring their own.
    cfg.MODEL.VOCABULARY = ""
    cfg.MODEL.CLIP = CfgNode()
    # Architecture, a name of ovss/clip/model.py: ViT-B/16, ViT-L/14@336, ViT-H-14, ..., or the embedded "tiny".
    cfg.MODEL.CLIP.NAME = "ViT-B/16"
    # Local file or folder of weights; empty: the published ones, downloaded once by open_clip.
    cfg.MODEL.CLIP.WEIGHTS = ""
    cfg.MODEL.TEXT = CfgNode()
    # Prompt set of ovss/templates.py: single, imagenet (80), imagenet_select (8), vild (14).
    cfg.MODEL.TEXT.PROMPTS = "imagenet"
    # Synonyms of a class: first, average, joined ("car, auto" as one phrase), each (one row of text per synonym).
    cfg.MODEL.TEXT.SYNONYMS = "joined"
    # Interpolation of the test resize: bilinear (Detectron2) or bicubic (CLIP's own).
    cfg.INPUT.INTERPOLATION_TEST = "bilinear"
    # Crop the centre square of the resized picture and score there (protocol of CLIPtrase's paper). Evaluation only.
    cfg.INPUT.CENTER_CROP_TEST = False
    # How a picture meets the patch grid: "pad" (as published; the border stays in the answer) or "resize".
    cfg.INPUT.SIZE_FIT = "pad"
    # Training: change colours as SSD does. Crops are padded on the right and below to this square, in pixels; 0: not.
    cfg.INPUT.COLOR_AUG_SSD = False
    cfg.INPUT.SIZE_DIVISIBILITY = 0
    # Crops with more than this share of one class are drawn again, up to ten times; 1: never.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    # Training pictures whose files cannot be used are replaced and reported, up to this many in a run; 0: stop at the
    # first.
    cfg.DATALOADER.MAX_UNREADABLE = 10
    # Seconds that a step may wait for its pictures before the run ends, where processes load them; 0: for ever.
    cfg.DATALOADER.TIMEOUT = 600
    # Value of pixels without a label in the loss; those of a data set are turned into it.
    cfg.LOSS = CfgNode()
    cfg.LOSS.IGNORE_LABEL = 255
    # Training: iterations between lines in the log, in metrics.json and in TensorBoard, which look back as far.
    cfg.LOG_PERIOD = 20
    # Also send config, scalars, pictures and scores to Weights & Biases (pip install 'ovss[wandb]'); its environment
    # variables say as whom and how, such as WANDB_ENTITY and WANDB_MODE=offline. An empty name: one of its own.
    cfg.WANDB = CfgNode()
    cfg.WANDB.ENABLED = False
    cfg.WANDB.PROJECT = "ovss"
    cfg.WANDB.NAME = ""
    # ADAMW or SGD. SOLVER.CLIP_GRADIENTS.CLIP_TYPE may also be full_model: the norm of all gradients together.
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # Weight decay of embeddings; SOLVER.WEIGHT_DECAY_NORM is that of norms.
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0
    # Learning rates of CLIP and of an appearance backbone, as fractions of SOLVER.BASE_LR.
    cfg.SOLVER.CLIP_MULTIPLIER = 0.01
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.0
    # Micro-batches that each process cuts its share of a batch into: memory of one, gradients of all.
    cfg.SOLVER.ACCUMULATE = 1
    # What SOLVER.AMP.ENABLED computes in: bfloat16, which has float32's range, or float16, which Detectron2 takes and
    # GPUs before Ampere need; it is finer, and losses are scaled for it. The published models were trained without.
    cfg.SOLVER.AMP.DTYPE = "bfloat16"
    # Name of the test protocol whose values these are (configs/protocols), shown with every result.
    cfg.TEST.PROTOCOL = ""
    # Test on overlapping windows averaged with a view of the whole picture (CAT-Seg's protocol), or on the whole alone.
    cfg.TEST.SLIDING_WINDOW = False
    # The picture is squashed to this (height, width) in pixels, and cut into windows of this side and overlap (share).
    cfg.TEST.WINDOW_CANVAS = [640, 640]
    cfg.TEST.WINDOW_SIZE = 384
    cfg.TEST.WINDOW_OVERLAP = 0.333
    # Pixels without a label count as background (protocol of CLIPtrase's paper), in sets that have a background class
    # and whose own label map leaves the question open.
    cfg.TEST.VOID_AS_BACKGROUND = False
    # Leave out pictures of which nothing but background is scored (the same protocol's script passes over them).
    cfg.TEST.SKIP_BACKGROUND_ALONE = False
    # Added to the denominators of class accuracy and IoU: 0.01 in CLIPtrase's own script, 0 in Detectron2.
    cfg.TEST.EPSILON = 0.0
    # Keep the predictions: a label image of each picture (pixel value = class), written as it comes; and one JSON file
    # of run-length encoded segments, Detectron2's and COCO's format.
    cfg.TEST.SAVE_LABELS = False
    cfg.TEST.SAVE_PREDICTIONS = False
    # Write a page of the results beside them: scores, classes, the best and the worst pictures. Needs no network.
    cfg.TEST.REPORT = True
    # One's own data as DATASETS.TEST "('folder',)": pictures, label images of the same stems, a class file.
    cfg.DATASETS.FOLDER = CfgNode()
    cfg.DATASETS.FOLDER.IMAGES = ""
    cfg.DATASETS.FOLDER.LABELS = ""
    cfg.DATASETS.FOLDER.CLASSES = ""
    # Value of pixels without a label.
    cfg.DATASETS.FOLDER.IGNORE_LABEL = 255


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
