"""The config node: fvcore's, with safe YAML only, and the table of default keys. Imports fvcore and yaml."""

from typing import Any

import yaml
from fvcore.common.config import CfgNode as FvcoreCfgNode

from ovss.d2.lite.file_io import PathManager


class CfgNode(FvcoreCfgNode):
    """A tree of settings: attribute access, `_BASE_` files, `merge_from_list`, `freeze`, `clone`, `dump`."""

    @classmethod
    def _open_cfg(cls, filename: str) -> Any:
        return PathManager.open(filename, "r")

    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        """Read a YAML file on top of the file or files that its `_BASE_` names, relative to it.

        Raises:
            ValueError: unreadable, not plain YAML, not a mapping, or `_BASE_` in a circle; the message names the file.
        """
        if allow_unsafe:
            raise ValueError(f"config file {filename}: YAML that runs code is not supported; drop allow_unsafe")
        try:
            return super().load_yaml_with_base(filename)
        except OSError as error:
            raise ValueError(f"config file {filename}: cannot be read ({error.strerror})") from error
        except yaml.YAMLError as error:
            raise ValueError(f"config file {filename}: not plain YAML: {error}") from error
        except TypeError as error:
            raise ValueError(f"config file {filename}: expected keys and values, found none") from error
        except RecursionError as error:
            raise ValueError(f"config file {filename}: its _BASE_ leads back to itself") from error

    def merge_from_file(self, cfg_filename: str, allow_unsafe: bool = False) -> None:
        """Merge a YAML file; KeyError for an unknown key, ValueError for a wrong type, file or `VERSION`."""
        loaded = type(self)(self.load_yaml_with_base(cfg_filename, allow_unsafe))
        version = loaded.get("VERSION", self.VERSION)
        if version != self.VERSION:
            raise ValueError(f"config file {cfg_filename}: VERSION {version}, but this project reads {self.VERSION}")
        self.merge_from_other_cfg(loaded)


def get_cfg() -> CfgNode:
    """A fresh copy of the defaults, with Detectron2's names and values; only keys that something here reads."""
    return CfgNode(
        {
            "VERSION": 2,  # of the naming of keys
            "MODEL": {
                "DEVICE": "cuda",  # "cuda" or "cpu"
                "META_ARCHITECTURE": "GeneralizedRCNN",  # name in META_ARCH_REGISTRY; every config sets its own
                "WEIGHTS": "",  # checkpoint to load: a path or URL; empty for none
            },
            "INPUT": {
                "MIN_SIZE_TRAIN": (800,),  # shorter side of a training image in pixels
                "MIN_SIZE_TRAIN_SAMPLING": "choice",  # "choice": one of MIN_SIZE_TRAIN; "range": from first to last
                "MAX_SIZE_TRAIN": 1333,  # bound on the longer side; wins over MIN_SIZE_TRAIN
                "RANDOM_FLIP": "horizontal",  # mirror half of the training images: "horizontal", "vertical" or "none"
                "CROP": {
                    "ENABLED": False,  # train on random crops
                    "TYPE": "relative_range",  # see RandomCrop: relative, relative_range, absolute, absolute_range
                    "SIZE": [0.9, 0.9],  # of the crop, height and width: shares of the image, or pixels, by TYPE
                },
                "MIN_SIZE_TEST": 800,  # shorter side of a test image in pixels
                "MAX_SIZE_TEST": 1333,  # bound on the longer side; wins over MIN_SIZE_TEST
                "FORMAT": "BGR",  # order of colours that a model reads; this project's read "RGB"
            },
            "DATASETS": {
                "TRAIN": (),  # names in DatasetCatalog, used together
                "TEST": (),  # names in DatasetCatalog, evaluated one by one
            },
            "SOLVER": {
                "MAX_ITER": 40000,  # steps of the optimizer
                "IMS_PER_BATCH": 16,  # training images per step, in all processes together
                "BASE_LR": 0.001,  # learning rate that the schedule multiplies
                "MOMENTUM": 0.9,  # of SGD
                "WEIGHT_DECAY": 0.0001,
                "WEIGHT_DECAY_NORM": 0.0,  # of the parameters of normalization layers
                "AMP": {
                    "ENABLED": False,  # train in mixed precision
                },
                "CLIP_GRADIENTS": {
                    "ENABLED": False,
                    "CLIP_TYPE": "value",  # "value": clip each number; "norm": the norm of each parameter's gradient
                    "CLIP_VALUE": 1.0,  # the bound
                    "NORM_TYPE": 2.0,  # p of the L-p norm
                },
                "LR_SCHEDULER_NAME": "WarmupMultiStepLR",  # or WarmupCosineLR
                "STEPS": (30000,),  # WarmupMultiStepLR: iterations after which the rate is multiplied by GAMMA
                "GAMMA": 0.1,
                "BASE_LR_END": 0.0,  # WarmupCosineLR: rate at the end
                "WARMUP_ITERS": 1000,  # iterations of rising or constant low rate at the start; 0 for none
                "WARMUP_FACTOR": 0.001,  # share of the rate at which the warm-up starts
                "WARMUP_METHOD": "linear",  # or "constant"
                "CHECKPOINT_PERIOD": 5000,  # iterations between checkpoints
            },
            "TEST": {
                "EVAL_PERIOD": 0,  # iterations between evaluations while training; 0 for only at the end
                "AUG": {
                    "ENABLED": False,  # average the scores of several views of each picture
                    "MIN_SIZES": (400, 500, 600, 700, 800, 900, 1000, 1100, 1200),  # their shorter sides in pixels
                    "MAX_SIZE": 4000,  # bound on their longer sides; wins over MIN_SIZES
                    "FLIP": True,  # each view mirrored, too
                },
            },
            "DATALOADER": {
                "NUM_WORKERS": 4,  # loading processes per process of the run; 0 loads in the process itself
            },
            "OUTPUT_DIR": "./output",  # logs, config.yaml, results
            "VIS_PERIOD": 0,  # iterations between pictures of training data in TensorBoard; 0 for none
            "SEED": -1,  # of python, numpy and torch, plus the rank; negative for a new one at each run
            "CUDNN_BENCHMARK": False,  # let cuDNN try algorithms; helps training with images of one size
            "FLOAT32_PRECISION": "",  # "highest", "high" or "medium" for matrix products on a GPU; empty keeps torch's
        }
    )
