"""What was checked once is not read again: a note of each file that was right, with its size and time. No torch."""

import json
import logging
from pathlib import Path

from ovss.download import transfer
from ovss.download.remote_file import RemoteFile
from ovss.files import cache_folder, write_atomic

logger = logging.getLogger(__name__)


def mismatch(path: Path, file: RemoteFile) -> str:
    """As `ovss.download.transfer.mismatch`, at once for a file that was right before and has not changed since."""
    if _notes().get(str(path.resolve())) == _state(path, file):
        return ""
    wrong = transfer.mismatch(path, file)
    if not wrong:
        remember(path, file)
    return wrong


def remember(path: Path, file: RemoteFile) -> None:
    """Note that a file is right. Where nothing can be written, it is read again next time."""
    if not file.checksum:
        return
    notes = {**_notes(), str(path.resolve()): _state(path, file)}
    content = json.dumps(notes, indent=0, sort_keys=True).encode()
    try:
        _note().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(_note(), lambda handle: handle.write(content))
    except OSError as error:
        logger.info("%s cannot be written (%s): %s will be checked again", _note(), error, path)


def _note() -> Path:
    return cache_folder() / "weights" / "checked.json"


def _state(path: Path, file: RemoteFile) -> list:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, file.checksum]


def _notes() -> dict[str, list]:
    try:
        notes = json.loads(_note().read_bytes())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}
