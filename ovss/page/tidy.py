"""What users sent and made: removed once it has served, counted until then. Standard library only.

An upload is not removed when it has been read: Gradio keeps equal files of different users under one name.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UPLOADS_KEPT = 300  # seconds; reading one takes at most a few
RESULTS_KEPT = 3600
EVERY = 30
RESULTS = "result_"  # how the names of folders of results begin
MAX_STORED = 2**30  # bytes of all of it
LEAST = 2**16  # bytes that a file or folder counts for at least, so that the number of them has a limit too
FULL = "the server holds all the files that it may: come back in five minutes"


@contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """A folder from which old files go while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            with suppress(OSError):  # a folder has gone while it was looked at: next time
                tidy(folder, time.time())

    watcher = threading.Thread(target=watch, name="tidy", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def tidy(folder: Path, now: float) -> None:
    """Remove files below `folder` that are too old at the time `now`, and folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before it
        kept = RESULTS_KEPT if path.relative_to(folder).parts[0].startswith(RESULTS) else UPLOADS_KEPT
        with suppress(OSError):  # gone, or not empty
            if now - path.lstat().st_mtime > kept:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def stored(folder: Path) -> int:
    """Bytes of what lies below `folder`."""
    total = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):  # gone
                total += max(LEAST, os.lstat(os.path.join(place, name)).st_size)
    return total
