"""An evaluation from its config to its scores, as every process of it runs. Imports the seam and what evaluates."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ovss.allocator import keep_freed_memory
from ovss.d2.api import CfgNode, build_model, comm, default_setup, log_engine, setup_logger
from ovss.d2.config import take_notes
from ovss.d2.evaluator import NotWrittenError, evaluate

logger = logging.getLogger(__name__)
LOGGERS = ("detectron2", "fvcore", "ovss")


def set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Log into OUTPUT_DIR, seed, precision, memory; `args` are those of `default_argument_parser`."""
    keep_freed_memory()
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="ovss")
    log_engine(logger)
    if comm.is_main_process():
        for note in take_notes():  # said before there was a log
            logger.info(note)


def run_evaluation(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Set up, build the model and evaluate it on DATASETS.TEST; results are in OUTPUT_DIR, see `evaluate`.

    Exits with code 1 where some of them could not be written.
    """
    set_up(cfg, args)
    try:
        evaluate(cfg, build_model(cfg).eval())
    except NotWrittenError as error:
        logger.error(error)
        sys.exit(1)


@contextmanager
def own_log() -> Iterator[None]:
    """Let what is run inside log into its own OUTPUT_DIR alone: a program may run several evaluations."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.propagate, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            for handler in logger.handlers:
                if handler not in handlers:
                    handler.close()
            logger.propagate, logger.handlers[:] = propagate, handlers
