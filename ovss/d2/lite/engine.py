"""What every program does first: read the command line, then set up log, folder, seed and precision for a config."""

import argparse
import logging
import os
import platform
import random
import sys

import numpy as np
import PIL
import torch
from fvcore.common.config import CfgNode

from ovss.d2.lite import comm
from ovss.d2.lite.file_io import PathManager
from ovss.d2.lite.logger import setup_logger

logger = logging.getLogger(__name__)


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """Parser with the options of Detectron2's programs; `epilog` replaces the examples at the end of `--help`."""
    program = os.path.basename(sys.argv[0])
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=epilog
        or f"""examples:
  {program} --config-file FILE --eval-only MODEL.WEIGHTS model.pth
  {program} --config-file FILE --num-gpus 2 MODEL.DEVICE cpu
  {program} --config-file FILE --num-gpus 8 --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT""",
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="YAML file with settings")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    parser.add_argument("--eval-only", action="store_true", help="evaluate, do not train")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on each machine, one per GPU (default: 1)")
    parser.add_argument("--num-machines", type=int, default=1, help="number of machines (default: 1)")
    parser.add_argument("--machine-rank", type=int, default=0, help="number of this machine, from 0 (default: 0)")
    parser.add_argument(
        "--dist-url", default="auto", help="where processes meet: tcp://HOST:PORT of machine 0; auto on one machine"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, default=None, help="settings to change: pairs of KEY VALUE, after all options"
    )
    return parser


def default_setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Start the log in `cfg.OUTPUT_DIR` (environment, command line, config), write config.yaml, seed, set precision."""
    rank = comm.get_rank()
    for name in ("fvcore", "ovss"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name)
    logger.info(f"process {rank} of {comm.get_world_size()}")
    logger.info(f"environment: {_environment()}")
    logger.info(f"command line: {args}")
    if comm.is_main_process() and cfg.OUTPUT_DIR:
        logger.info(f"full config:\n{cfg.dump()}")
        _write_config(cfg)
    _seed_all(cfg.SEED, rank)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if cfg.FLOAT32_PRECISION and torch.cuda.is_available():
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
        torch.backends.cudnn.allow_tf32 = cfg.FLOAT32_PRECISION != "highest"


def _environment() -> str:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return (
        f"{platform.system()}, python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, "
        f"Pillow {PIL.__version__}, GPUs: {', '.join(gpus) or 'none'}"
    )


def _write_config(cfg: CfgNode) -> None:
    path = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
    PathManager.mkdirs(cfg.OUTPUT_DIR)
    with PathManager.open(path, "w") as file:
        file.write(cfg.dump())
    logger.info(f"full config written to {path}")


def _seed_all(seed: int, rank: int) -> None:
    """Seed python, numpy and torch, each rank differently; a negative seed draws one and logs it."""
    if seed < 0:
        seed = int.from_bytes(os.urandom(3), "big")
        logger.info(f"drew the random seed {seed}")
    else:
        seed += rank
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (augmentations, here and in users' code, draw from the global generator)
    torch.manual_seed(seed)
