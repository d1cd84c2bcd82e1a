"""From a config to a model. The one module of `ovss` that names the systems, and only inside functions."""

import logging
from collections.abc import Sequence
from functools import cache, partial
from types import ModuleType

import torch
from torch import Tensor, nn

from ovss.allocator import keep_freed_memory
from ovss.cache import fingerprint, key_of
from ovss.d2 import catalog  # registers the data sets
from ovss.d2.api import META_ARCH_REGISTRY, CfgNode, MetadataCatalog, build_model
from ovss.d2.augmentation import augmented
from ovss.d2.config import load_config
from ovss.d2.mapper import InputTransform
from ovss.d2.package import SUFFIX
from ovss.d2.processes.devices import resolve_devices
from ovss.d2.segmentor import Segmentor
from ovss.model_names import config_path
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


def load(config_file: str, opts: Sequence[str] = ()) -> CfgNode:
    """Read a config of any system, with their architectures registered and the user's own data set entered.

    Args:
        config_file: a YAML file, the name of one in configs/ (`ovss.model_names`), or a packaged model; empty: the
            packaged model that MODEL.WEIGHTS names.
        opts: KEY VALUE overrides.

    Raises:
        ValueError: no config, or a mistake in the file, a key, a value, or in DATASETS.FOLDER.
    """
    cfg = _read(config_file, opts)
    catalog.register_folder(cfg)
    for name in cfg.DATASETS.TEST:
        catalog.check_name(name, "DATASETS.TEST")
    return cfg


def _read(config_file: str, opts: Sequence[str]) -> CfgNode:
    from cat_seg import add_cat_seg_config
    from cat_seg.released_config import translate
    from cliptrase import add_cliptrase_config

    systems = [add_cat_seg_config, add_cliptrase_config]
    cfg = load_config(config_path(config_file) or _packaged(opts), opts, systems, translate)
    if cfg.MODEL.META_ARCHITECTURE not in META_ARCH_REGISTRY:
        raise ValueError(f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE!r} is unknown; take one of configs/")
    return cfg


def _packaged(opts: Sequence[str]) -> str:
    """The packaged model among KEY VALUE overrides, which brings its own config."""
    weights = dict(zip(opts[::2], opts[1::2], strict=False)).get("MODEL.WEIGHTS", "")
    if not weights.endswith(SUFFIX):
        raise ValueError(
            "no --config-file: take one of configs/, such as configs/quickstart/cliptrase.yaml, "
            f"or give MODEL.WEIGHTS a model with its config inside, a {SUFFIX} file"
        )
    return weights


def released_tensors(config_file: str, opts: Sequence[str] = ()) -> dict[str, Tensor]:
    """All tensors of a trained CAT-Seg, on the CPU, under the names that its authors' code loads.

    Args:
        config_file, opts: see `load`; data sets that the config names need not be on this machine.

    Raises:
        ValueError: config or weights that do not fit, no weights, or a model that is no CAT-Seg.
    """
    from cat_seg.checkpoint import to_released
    from cat_seg.d2 import CATSeg

    cfg = _read(config_file, [*opts, "MODEL.DEVICE", "cpu"])
    if META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE) is not CATSeg:
        raise ValueError(f"{cfg.MODEL.META_ARCHITECTURE} has no released checkpoints: give a trained CAT-Seg")
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("MODEL.WEIGHTS is empty: give the weights of the trained CAT-Seg")
    segmentor = build_model(cfg)
    assert isinstance(segmentor, CATSeg)
    return to_released(segmentor.model)


def is_training_free(cfg: CfgNode) -> bool:
    """Whether a config's system has nothing to train, and so no weights but CLIP's."""
    architecture = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    return getattr(architecture, "losses", None) is Segmentor.losses


def weights_setting(config_file: str, opts: Sequence[str] = ()) -> str:
    """The setting that takes a model's weights: its own, or CLIP's where it is training-free. Arguments: see `load`."""
    return "MODEL.CLIP.WEIGHTS" if is_training_free(_read(config_file, opts)) else "MODEL.WEIGHTS"


def global_patch() -> ModuleType:
    """CLIPtrase's `look` and `patch_grid`: what patches of CLIP attend to, for what shows it beside the systems."""
    from cliptrase import global_patch

    return global_patch


def build_predictor(
    config_file: str, opts: Sequence[str] = (), vocabulary: Vocabulary | None = None, device: str | None = None
) -> Predictor:
    """Build a model and everything around it to segment pictures of any size.

    The process keeps the memory that it frees from then on (`ovss.allocator`).

    Args:
        config_file, opts: see `load`.
        vocabulary: what to look for; default: MODEL.VOCABULARY, else the words of the first data set in DATASETS.TEST.
        device: "cpu", "cuda", "cuda:1", ...; default MODEL.DEVICE, the CPU where there is no GPU.

    Raises:
        ValueError: config, words or weights that do not fit.
        ConnectionError: weights that cannot be downloaded.
    """
    cfg = _read(config_file, [*opts, *(("MODEL.DEVICE", device) if device else ())])
    _, resolved = resolve_devices(1, cfg.MODEL.DEVICE, torch.cuda.device_count())
    if device and resolved != device:
        raise ValueError(f"device {device}: this machine has no GPU that torch can use; give cpu")
    if resolved != cfg.MODEL.DEVICE:
        logger.warning("no GPU here: running on the CPU")
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = resolved
    if vocabulary is None and cfg.MODEL.VOCABULARY:
        vocabulary = Vocabulary.parse(cfg.MODEL.VOCABULARY)
    if vocabulary is None and cfg.DATASETS.TEST:  # the only use of a data set here: it need not be on this machine
        catalog.register_folder(cfg)
        catalog.check_name(cfg.DATASETS.TEST[0], "DATASETS.TEST")
        vocabulary = MetadataCatalog.get(cfg.DATASETS.TEST[0]).vocabulary
    keep_freed_memory()
    segmentor = augmented(cfg, build_model(cfg).eval())
    transform = InputTransform.from_config(cfg, center_crop=False)
    return Predictor(segmentor, transform, vocabulary, cache(partial(_identity, cfg, segmentor)))


def _identity(cfg: CfgNode, segmentor: nn.Module) -> str:
    """A key of a config and of the weights' values: the same on every machine, wherever it keeps their files."""
    same = cfg.clone()
    same.MODEL.DEVICE = same.MODEL.WEIGHTS = same.MODEL.CLIP.WEIGHTS = same.MODEL.CAT_SEG.BACKBONE_WEIGHTS = ""
    return key_of(same.dump(), fingerprint(segmentor))
