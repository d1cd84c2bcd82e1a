"""Train and evaluate, as Detectron2's train_net.py: --config-file FILE [--num-gpus N] [--resume] [KEY VALUE ...].

The program is train_net.py beside this package, and `ovss train` and `ovss eval`.

With --eval-only it evaluates alone: CLIPtrase is training-free. --resume takes the last checkpoint of OUTPUT_DIR, to
train on from it or to evaluate it. Exit code 2: a mistake in what was asked for.
"""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext

from ovss import hub
from ovss.d2 import catalog
from ovss.d2.api import CfgNode, comm, default_argument_parser
from ovss.d2.processes.launch import exit_codes, launch_main
from ovss.d2.run import run_evaluation, set_up
from ovss.d2.training.resume import newest_checkpoint
from ovss.d2.training.run_folder import training_in
from ovss.d2.training.trainer import Trainer


def load(args: argparse.Namespace, device: str = "") -> CfgNode:
    """The config of a command line, checked; `device` overrides MODEL.DEVICE."""
    opts = [*args.opts, *(("MODEL.DEVICE", device) if device else ())]
    cfg = hub.load(args.config_file, opts)
    if args.eval_only and args.resume:
        found = newest_checkpoint(cfg.OUTPUT_DIR)
        if not found:
            raise ValueError(f"--resume, but there is no checkpoint in OUTPUT_DIR {cfg.OUTPUT_DIR}")
        cfg = hub.load(args.config_file, [*opts, "MODEL.WEIGHTS", str(found[0])])
    if args.eval_only and not cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST is empty: name a data set, such as DATASETS.TEST \"('scenes_val',)\"")
    if not args.eval_only:
        check_training(cfg)
        if args.keep is not None and args.keep < 1:
            raise ValueError(f"--keep {args.keep}: at least one checkpoint must stay; without --keep all do")
    return cfg


def check_training(cfg: CfgNode) -> None:
    """Raise ValueError for a config that cannot be trained."""
    if hub.is_training_free(cfg):
        raise ValueError(f"{cfg.MODEL.META_ARCHITECTURE} is training-free, there is nothing to train: add --eval-only")
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: name a data set, such as DATASETS.TRAIN \"('scenes_train_seen',)\"")
    for name in cfg.DATASETS.TRAIN:
        catalog.check_name(name, "DATASETS.TRAIN")
    for key in ("MAX_ITER", "CHECKPOINT_PERIOD"):
        if cfg.SOLVER[key] < 1:
            raise ValueError(f"SOLVER.{key} {cfg.SOLVER[key]}: must be at least 1 iteration")


def main(args: argparse.Namespace, device: str) -> None:
    """What each process runs."""
    cfg = load(args, device)
    if args.eval_only:
        run_evaluation(cfg, args)
        return
    with training_in(cfg.OUTPUT_DIR, resume=args.resume) if comm.is_main_process() else nullcontext():
        set_up(cfg, args)
        trainer = Trainer(cfg, keep=args.keep)
        trainer.resume_or_load(args.resume)
        trainer.train()


def parse(words: Sequence[str] | None, program: str) -> argparse.Namespace:
    """The command line: Detectron2's and --keep."""
    parser = default_argument_parser(
        f"""examples:
  {program} --config-file FILE --num-gpus 4
  {program} --config-file FILE --eval-only MODEL.WEIGHTS model.pth
  {program} --config-file FILE --num-gpus 2 MODEL.DEVICE cpu
  {program} --config-file FILE --num-gpus 8 --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT"""
    )
    parser.prog = program
    parser.add_argument("--keep", type=int, metavar="N", help="of the checkpoints keep the last N and model_final.pth")
    return parser.parse_args(words)


def run(words: Sequence[str] | None = None, program: str = "train_net.py") -> None:
    """The whole program for the words of a command line, by default this process's; may end the process."""
    arguments = parse(words, program)
    with exit_codes(program):
        launch_main(main, arguments, load(arguments).MODEL.DEVICE)
