"""Evaluate, as Detectron2's train_net.py: --config-file FILE --num-gpus N [--eval-only] [KEY VALUE ...].

CLIPtrase is training-free, and CAT-Seg's training is not in this version: only --eval-only runs. Exit code 2: a mistake
in what was asked for.
"""

import argparse
import logging
import sys

from ovss import hub
from ovss.d2.api import (
    CfgNode,
    build_model,
    comm,
    default_argument_parser,
    default_setup,
    log_engine,
    setup_logger,
)
from ovss.d2.devices import USER_ERRORS, launch_main, plain_message
from ovss.d2.evaluator import evaluate


def load(args: argparse.Namespace, device: str = "") -> CfgNode:
    """The config of a command line, checked; `device` overrides MODEL.DEVICE."""
    cfg = hub.load(args.config_file, [*args.opts, *(("MODEL.DEVICE", device) if device else ())])
    if not args.eval_only:
        raise ValueError("only evaluation is in this version (CLIPtrase is training-free): add --eval-only")
    if not cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST is empty: name a data set, such as DATASETS.TEST \"('scenes_val',)\"")
    return cfg


def main(args: argparse.Namespace, device: str) -> None:
    """What each process runs."""
    cfg = load(args, device)
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="ovss")
    log_engine(logging.getLogger("ovss.train_net"))
    evaluate(cfg, build_model(cfg).eval())


if __name__ == "__main__":
    arguments = default_argument_parser().parse_args()
    try:
        launch_main(main, arguments, load(arguments).MODEL.DEVICE)
    except USER_ERRORS as error:
        print(f"train_net.py: error: {plain_message(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("train_net.py: interrupted", file=sys.stderr)
        sys.exit(130)
