"""Files: the path manager for local paths and http(s) URLs, and writing whole files. Imports iopath.

The path manager is our own, so that other libraries' handlers do not meet ours.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from iopath.common.file_io import HTTPURLHandler
from iopath.common.file_io import PathManager as PathManagerBase

PathManager = PathManagerBase()
PathManager.register_handler(HTTPURLHandler())


def write_whole(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, then move it there: `path` is never half written."""
    partial = Path(f"{path}.{os.getpid()}.tmp")
    try:
        with open(partial, "wb") as file:
            write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
