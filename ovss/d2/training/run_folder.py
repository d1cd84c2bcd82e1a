"""OUTPUT_DIR of a training run: one run at a time, nothing saved is lost, what a killed run left is cleared.

Imports files and the standard library.
"""

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ovss.d2.training.resume import checkpoints
from ovss.files import check_writable, remove_half_written

logger = logging.getLogger(__name__)
LOCK = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)  # by another process; other errors are of a file system without locks
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, the user's share is used up, a file's bound is reached


@contextmanager
def training_in(folder: str | Path, *, resume: bool) -> Iterator[None]:
    """Hold a folder for one training run, which may write into it. For the main process, before anything is written.

    The lock is the system's and ends with the process, however that ends.

    Raises:
        ValueError: it cannot be written to, another run trains there, or a run left checkpoints there and no `resume`;
            later, that the disk is full.
    """
    folder = Path(folder)
    check_writable(folder)
    with open(folder / LOCK, "a+", encoding="utf-8") as file:
        _lock(file, folder)
        there = checkpoints(folder)
        if there and not resume:
            raise ValueError(
                f"OUTPUT_DIR {folder} holds the checkpoints of a run, such as {there[-1].name}, which a new one would "
                "overwrite: go on with --resume, or take another folder"
            )
        remove_half_written(folder)
        with _full_disk_in_words(folder):
            yield


def _lock(file: TextIO, folder: Path) -> None:
    """Take the lock and note in it whose it is."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, it is not passed on to loading processes
    except OSError as error:
        if error.errno not in HELD:
            logger.warning(f"{folder} cannot be locked ({error.strerror}): see to it that no other run trains there")
            return
        file.seek(0)
        who = file.read().strip() or "unknown"
        raise ValueError(
            f"OUTPUT_DIR {folder}: another run trains there (process {who}): end it first, or take another folder"
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()} on {os.uname().nodename}")
    file.flush()


@contextmanager
def _full_disk_in_words(folder: Path) -> Iterator[None]:
    log, logging.raiseExceptions = logging.raiseExceptions, False  # the log file is on that disk, too
    tell = threading.excepthook
    # TensorBoard's thread ends with the error, which its writer then raises here.
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else tell(args)
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        found = [path.name for path in checkpoints(folder)]
        raise ValueError(
            f"{error.filename or folder}: {error.strerror}. What was saved before is whole "
            f"({', '.join(found[-3:]) or 'no checkpoint yet'}): make room, then go on with --resume"
        ) from error
    finally:
        logging.raiseExceptions = log
        threading.excepthook = tell
