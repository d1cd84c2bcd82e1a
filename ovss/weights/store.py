"""Published weights on this machine: found in its caches, else downloaded, once, resumed and verified.

The folder is `weights` in `ovss.files.cache_folder()`. With HF_HUB_OFFLINE=1 no connection is ever opened. Imports
`ovss.download`, iopath for locks and, where copies of other programs may serve, huggingface_hub.
"""

import difflib
import logging
import os
from dataclasses import replace
from pathlib import Path

from iopath.common.file_io import file_lock

from ovss.download import transfer
from ovss.download.remote_file import RemoteFile
from ovss.files import cache_folder
from ovss.weights import table
from ovss.weights.checked import mismatch, remember
from ovss.weights.table import Weights

logger = logging.getLogger(__name__)
WAIT = 24 * 3600  # seconds for another process that is downloading the same file
_HUB = "https://huggingface.co/"
# As open_clip saves them; safetensors first, as it does.
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def folder() -> Path:
    """Where weights are downloaded to."""
    return cache_folder() / "weights"


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to open a connection."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def published_path(config: str) -> tuple[str, Path] | None:
    """The setting and the file of the weights that a model runs with by default, as `fetch` brings it.

    Args:
        config: a name of `ovss.list_models()`, such as "cat_seg/vitb_384".

    Returns: such as ("MODEL.WEIGHTS", Path(".../model_base.pth")); None: nothing was published for this model.

    Raises: as `fetch`.
    """
    entry = table.default_for(config)
    return None if entry is None else (entry.setting, fetch(entry.name))


def resolve(weights: str | os.PathLike) -> Path:
    """The path of what a user gave as weights: a file or a folder, else a name of the table, which is fetched.

    Raises:
        ValueError: neither; and as `fetch`.
    """
    path = Path(weights).expanduser()
    if path.exists():
        return path
    if str(weights) in table.entries():
        return fetch(str(weights))
    near = difflib.get_close_matches(str(weights), table.entries(), n=1)
    advice = f"; did you mean the published {near[0]!r}?" if near else ""
    raise ValueError(f"weights {weights}: no such file or folder{advice}")


def fetch(name: str) -> Path:
    """The file of published weights: from this machine's caches, else downloaded.

    Its checksum was published and is right, or none was published. A copy in open_clip's caches may be another file of
    the same weights, of which nothing was published.

    Args:
        name: of the table, or of a model.

    Raises:
        ValueError: no such name; a file that is not what was published; one that no program may fetch.
        ConnectionError: not here, and no connection, or none allowed.
        OSError: the disk is full or cannot be written.
    """
    entry = table.find(name)
    if here := find_here(entry):
        return here
    path = folder() / entry.file.name
    if entry.by_hand:
        raise ValueError(f"{entry.name} cannot be downloaded by a program: {entry.by_hand}. Put it there as {path}")
    if offline():
        raise ConnectionError(
            f"{entry.name} is not on this machine, and HF_HUB_OFFLINE forbids to download it: put {entry.file.url} "
            f"there as {path}, or unset HF_HUB_OFFLINE"
        )
    _download(entry, path)
    remember(path, entry.file)
    if not entry.file.checksum:
        logger.warning("%s: no checksum was published, so that the file could not be verified", entry.name)
    return path


def _download(entry: Weights, path: Path) -> None:
    """Bring the file to `path`, in one of many processes that ask at once; the others wait for it."""
    file = replace(entry.file, url=_address(entry.file.url))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = file_lock(str(path))
    lock.acquire(timeout=WAIT)
    try:
        logger.info("%s: downloading %s to %s", entry.name, file.url, path)
        transfer.fetch(file, path.parent)
    except ConnectionError as error:
        raise ConnectionError(f"{entry.name}: {error}. A copy from elsewhere, put there as {path}, is used") from error
    finally:
        lock.release()


def _address(url: str) -> str:
    """The same file on the mirror of the hub that HF_ENDPOINT names, where it does."""
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return f"{mirror}/{url.removeprefix(_HUB)}" if mirror and url.startswith(_HUB) else url


def find_here(entry: Weights) -> Path | None:
    """The file where it is on this machine already; no connection is opened.

    A wrong file in this project's folder is set aside (ValueError); one in another program's cache is left alone.
    """
    for path, file in places(entry):
        wrong = mismatch(path, file)
        if not wrong:
            return path
        if path.parent == folder():
            transfer.verify(path, file)
        logger.warning("%s: not taking %s, which %s", entry.name, path, wrong)
    return None


def places(entry: Weights) -> list[tuple[Path, RemoteFile]]:
    """Every copy on this machine, unread, with what is known of it: this project's, open_clip's, the hub client's."""
    found = [(folder() / entry.file.name, entry.file)]
    if entry.hub:
        from huggingface_hub import try_to_load_from_cache

        found.append((Path("~/.cache/clip").expanduser() / entry.file.name, entry.file))
        for name in _HUB_FILES:
            published = entry.file.url == f"{_HUB}{entry.hub}/resolve/main/{name}"
            cached = try_to_load_from_cache(entry.hub, name)
            if isinstance(cached, str):
                found.append((Path(cached), entry.file if published else RemoteFile(f"{_HUB}{entry.hub}", name)))
    return [(path, file) for path, file in found if path.is_file()]
