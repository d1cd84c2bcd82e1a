"""Files are written whole or not at all, and where those lie that can be made again. Standard library only."""

import json
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def cache_folder() -> Path:
    """The folder for everything that can be made or fetched again: `$OVSS_CACHE`, else `~/.cache/ovss`."""
    return Path(os.environ.get("OVSS_CACHE") or Path.home() / ".cache" / "ovss").expanduser()


def write_atomic(path: str | os.PathLike, write: Callable[[BinaryIO], object], *, durable: bool = False) -> None:
    """Let `write` fill a new file beside `path`, then move it there: readers see the old file or the whole new one.

    `write` may also put another file in its place, by the name of the one that it is given. The mode is the umask's.
    A `durable` file is on the disk before it has its name, and its name when this returns: both outlive a power cut.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode
            write(file)
        os.chmod(temporary, mode)  # safetensors replaces the file by one that its owner alone may read
        if durable:
            _to_disk(temporary)
        os.replace(temporary, path)
        if durable:
            _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write a value as JSON that people can read."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda out: out.write(text.encode("utf-8", "backslashreplace")))  # names of files may be no text


def _to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_half_written(folder: Path) -> None:
    """Clear a folder of what `write_atomic` left there in runs that were killed."""
    for path in folder.iterdir():
        if _HALF_WRITTEN.fullmatch(path.name):
            path.unlink(missing_ok=True)


def check_writable(folder: str | os.PathLike) -> None:
    """Make a folder where it is missing, and write a file of 1 MiB into it, which goes away again.

    For before long work whose results go there.

    Raises:
        ValueError: that is not possible; it names the folder and the reason.
    """
    folder = Path(folder)
    probe = folder / f".{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(probe, "xb") as file:
                file.write(bytes(2**20))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"nothing can be written to {folder}: {error.strerror or error}") from error
