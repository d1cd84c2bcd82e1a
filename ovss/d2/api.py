"""The seam to Detectron2: every name of it that project and tests use; the only module that imports `detectron2`.

The names come from Detectron2 where it is installed, else from `ovss.d2.lite`; `ENGINE` is "lite", or "detectron2" and
its version. The environment variable OVSS_ENGINE=lite|detectron2 forces one. A Detectron2 that is installed but broken
is an error, never a silent change of engine: a user who installed it means to run on it.
"""

import logging
import os
from typing import TYPE_CHECKING

__all__ = [
    "ENGINE",
    "META_ARCH_REGISTRY",
    "CfgNode",
    "DatasetCatalog",
    "DatasetEvaluator",
    "DefaultTrainer",
    "EventStorage",
    "EventWriter",
    "HookBase",
    "JSONWriter",
    "MetadataCatalog",
    "T",
    "build_detection_test_loader",
    "build_lr_scheduler",
    "build_model",
    "comm",
    "configurable",
    "default_argument_parser",
    "default_setup",
    "get_cfg",
    "get_event_storage",
    "hooks",
    "inference_on_dataset",
    "log_engine",
    "setup_logger",
]


def _broken(error: Exception) -> ImportError:
    return ImportError(
        f"Detectron2 is installed but cannot be imported: {type(error).__name__}: {error}. "
        "Repair or remove it, or set OVSS_ENGINE=lite to run without it"
    )


def _choose_engine() -> str:
    """Name of the engine to use.

    Raises:
        ValueError: OVSS_ENGINE names no engine.
        ImportError: Detectron2 is installed but broken, or forced but absent.
    """
    wanted = os.environ.get("OVSS_ENGINE", "")
    if wanted not in ("", "lite", "detectron2"):
        raise ValueError(f"OVSS_ENGINE={wanted!r} names no engine; known: lite, detectron2")
    if wanted == "lite":
        return "lite"
    try:
        import detectron2
    except ModuleNotFoundError as error:
        if error.name != "detectron2":
            raise _broken(error) from error
        if wanted == "detectron2":
            raise ImportError("OVSS_ENGINE=detectron2, but Detectron2 is not installed; install it") from error
        return "lite"
    except Exception as error:  # a build against another torch or Pillow fails in many ways
        raise _broken(error) from error
    return f"detectron2 {getattr(detectron2, '__version__', '(unknown version)')}"


ENGINE = _choose_engine()

if TYPE_CHECKING or ENGINE == "lite":  # the types of lite stand for both
    from ovss.d2.lite import comm, hooks
    from ovss.d2.lite import transforms as T
    from ovss.d2.lite.catalog import DatasetCatalog, MetadataCatalog
    from ovss.d2.lite.config import CfgNode, get_cfg
    from ovss.d2.lite.configurable import configurable
    from ovss.d2.lite.engine import default_argument_parser, default_setup
    from ovss.d2.lite.evaluation import DatasetEvaluator, inference_on_dataset
    from ovss.d2.lite.events import EventStorage, get_event_storage
    from ovss.d2.lite.hooks import HookBase
    from ovss.d2.lite.loader import build_detection_test_loader
    from ovss.d2.lite.logger import setup_logger
    from ovss.d2.lite.lr_scheduler import build_lr_scheduler
    from ovss.d2.lite.modeling import META_ARCH_REGISTRY, build_model
    from ovss.d2.lite.trainer import DefaultTrainer
    from ovss.d2.lite.writers import EventWriter, JSONWriter
else:
    try:
        from detectron2.config import CfgNode, configurable, get_cfg
        from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
        from detectron2.data import transforms as T
        from detectron2.engine import (
            DefaultTrainer,
            HookBase,
            default_argument_parser,
            default_setup,
            defaults,
            hooks,
        )
        from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
        from detectron2.modeling import META_ARCH_REGISTRY, build_model
        from detectron2.solver import build_lr_scheduler
        from detectron2.utils import comm
        from detectron2.utils.events import EventStorage, EventWriter, JSONWriter, get_event_storage
        from detectron2.utils.logger import setup_logger

        from ovss.d2.amend import amend

        amend(defaults)
    except Exception as error:
        raise _broken(error) from error


def log_engine(logger: logging.Logger) -> None:
    """Write the one line that says what the program runs on."""
    logger.info(f"engine: {ENGINE}{' (this project without Detectron2)' if ENGINE == 'lite' else ''}")
