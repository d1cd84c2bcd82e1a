"""Logging: the main process to the terminal, every process to its own file. Standard library and termcolor only."""

import logging
import os
import sys

from termcolor import colored

from ovss.d2.lite.file_io import PathManager

_DATE = "%m/%d %H:%M:%S"
_PLAIN = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"


class _ColorFormatter(logging.Formatter):
    """Green place, red level for what needs attention."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"{colored(record.levelname, 'red')} {text}" if record.levelno >= logging.WARNING else text


def setup_logger(
    output: str | None = None, distributed_rank: int = 0, *, color: bool = True, name: str = "ovss"
) -> logging.Logger:
    """Send the logger `name` to stdout (rank 0 only) and to a file; a second call adds only what is missing.

    `output`: a folder, or a file that ends in .txt or .log; a folder gets "log.txt". Ranks above 0 append ".rank<n>".
    `color`: colour the terminal; a pipe or file never gets colour.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    present = {handler.get_name() for handler in logger.handlers}
    if distributed_rank == 0 and "stdout" not in present:
        handler: logging.Handler = logging.StreamHandler(sys.stdout)
        handler.set_name("stdout")
        if color and sys.stdout.isatty():
            place = colored("[%(asctime)s %(name)s]:", "green")
            handler.setFormatter(_ColorFormatter(f"{place} %(message)s", _DATE))
        else:
            handler.setFormatter(logging.Formatter(_PLAIN, _DATE))
        logger.addHandler(handler)
    if output:
        path = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
        path = os.path.abspath(path + (f".rank{distributed_rank}" if distributed_rank else ""))
        if path not in present:
            PathManager.mkdirs(os.path.dirname(path))
            handler = logging.FileHandler(path)
            handler.set_name(path)
            handler.setFormatter(logging.Formatter(_PLAIN, _DATE))
            logger.addHandler(handler)
    return logger
