"""Removes what users sent and made once it has served. Standard library only.

An upload is not removed when it has been read: Gradio keeps equal files of different users under one name.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UPLOADS_KEPT = 300  # seconds; reading one takes at most a few
RESULTS_KEPT = 3600
EVERY = 30
RESULTS = "result_"  # how the names of folders of results begin


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
