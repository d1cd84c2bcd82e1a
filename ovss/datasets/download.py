"""The work of `ovss datasets download`: files of one benchmark, fetched, checked and unpacked where preparation looks.

Archives lie in ROOT/downloads while they are needed. What was unpacked is noted there, so that it is not fetched again.
Imports the standard library, `ovss.download` and this package.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ovss.datasets.downloads import SOURCES, Download
from ovss.datasets.unpack import unpack
from ovss.download.transfer import fetch
from ovss.files import write_atomic


def download(name: str, root: Path, splits: Sequence[str], keep_archives: bool) -> int:
    """Fetch what `ovss datasets prepare NAME` reads for `splits`; the exit code is 1 where a file failed.

    Raises:
        ValueError: the set must be asked for by hand; the message says where and what goes where.
    """
    source = SOURCES[name]
    print(f"{name}: the terms of use are its owners', see {' and '.join(source.terms)}", flush=True)
    if source.by_hand:
        raise ValueError(f"{name} cannot be downloaded by a program: {source.by_hand.format(root=root)}")
    files = [file for file in source.files if file.split in ("", *splits)]
    failed = 0
    for file in files:
        try:
            _get(file, root, keep_archives)
        except (ValueError, OSError) as error:
            failed += 1
            print(f"ovss: {name}: {error}", file=sys.stderr)
    if failed:
        print(
            f"ovss: {failed} of {len(files)} files of {name} could not be downloaded. A copy from elsewhere, put into "
            f"{root / 'downloads'} under the same name, is checked and used",
            file=sys.stderr,
        )
        return 1
    print(f"{name}: all there below {root}; next: ovss datasets prepare {name}")
    return 0


def _get(file: Download, root: Path, keep_archives: bool) -> None:
    """Fetch and unpack one file, or say that this was done before."""
    folder = root / "downloads"
    note = folder / f"{file.name}.unpacked.json"
    if _is_unpacked(file, note, root):
        print(f"{file.name}: was unpacked before")
        return
    _warn_of_space(file, folder)
    archive = fetch(file, folder)
    size = archive.stat().st_size
    try:
        counts = unpack(archive, file.folders, root)
    except ValueError as error:
        if file.checksum:  # the archive is as published: fetching it again would bring the same
            raise
        wrong = archive.replace(archive.with_name(f"{file.name}.wrong"))
        raise ValueError(f"{error}; set aside as {wrong}: try once more") from error
    content = json.dumps({"url": file.url, "counts": counts}).encode()
    write_atomic(note, lambda handle: handle.write(content))
    if not keep_archives:
        archive.unlink()
    checked = (
        f"checksum as published (by {file.published})"
        if file.checksum
        else "no published checksum is known: only the transfer's length and the sums inside the archive were checked"
    )
    print(f"{file.name}: {size} bytes, {checked}", flush=True)
    for target, count in counts.items():
        print(f"  {count} files in {root / target}", flush=True)


def _warn_of_space(file: Download, folder: Path) -> None:
    """Say at once that the contents will not fit either; a folder that is a link to another disk may still hold them.

    Photos and label images are packed already: what comes out of an archive is about as large as the archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = [folder / file.name, folder / f"{file.name}.part"]
    have = sum(path.stat().st_size for path in there if path.exists())
    needed, free = 2 * (file.size or 0) - have, shutil.disk_usage(folder).free
    if needed > free:
        print(
            f"ovss: warning: {file.name} and its contents need about {needed} bytes more, {free} are free in {folder}",
            file=sys.stderr,
        )


def _is_unpacked(file: Download, note: Path, root: Path) -> bool:
    """Whether a run noted this very file, and no fewer files are there than it unpacked."""
    try:
        done = json.loads(note.read_bytes())
        return done["url"] == file.url and all(_count(root / path) >= n for path, n in done["counts"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _count(path: Path) -> int:
    return 1 if path.is_file() else sum(len(files) for _, _, files in os.walk(path, followlinks=True))
