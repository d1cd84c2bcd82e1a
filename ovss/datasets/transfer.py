"""One file over HTTP: resumed where it broke off, bounded, and there under its name only when it is whole and right.

The bytes so far stand in NAME.part, what the server said of them in NAME.part.json. Imports the standard library, tqdm
and `ovss.files`.
"""

import errno
import hashlib
import http.client
import json
import os
import shutil
import sys
import time
from pathlib import Path

from tqdm import tqdm

from ovss.datasets import web
from ovss.datasets.downloads import Download
from ovss.files import write_atomic

WAITS = (1, 2, 4, 8, 16)  # seconds before each new try, while tries bring nothing new
PROGRESS = 1 << 16  # bytes that a try must add to count as one that brought something
LIMIT = 4 << 30  # bytes of a file whose size nobody published; the largest of those in the table has 1.4 GB
_VALIDATORS = ("ETag", "Last-Modified")


def fetch(download: Download, folder: Path) -> Path:
    """Download into `folder`, or take what is there already, and return the file, whole and checked.

    Raises:
        ValueError: the server offers something else than was published (size, checksum), or redirects elsewhere.
        ConnectionError: a refusal, or too many tries in a row that brought nothing new; the bytes so far are kept.
        OSError: the disk is full or cannot be written.
    """
    path, part = folder / download.name, folder / f"{download.name}.part"
    if path.exists():
        verify(path, download)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    _receive_all(download, part)
    verify(part, download)
    os.replace(part, path)
    _note(part).unlink(missing_ok=True)
    return path


def verify(path: Path, download: Download) -> None:
    """Raise ValueError unless size and checksum are the published ones; a wrong file is set aside as NAME.wrong."""
    size = path.stat().st_size
    if download.size not in (None, size):
        raise ValueError(_set_aside(path, download, f"{size} bytes", f"{download.size} bytes"))
    if not download.checksum:
        return
    algorithm, expected = download.checksum.split(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    desc = f"checking {download.name}"
    with open(path, "rb") as file, tqdm(total=size, unit="B", unit_scale=True, desc=desc, disable=None) as bar:
        while chunk := file.read(web.CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != expected:
        raise ValueError(_set_aside(path, download, f"{algorithm} {digest.hexdigest()}", f"{algorithm} {expected}"))


def _set_aside(path: Path, download: Download, found: str, expected: str) -> str:
    wrong = path.with_name(f"{download.name}.wrong")
    os.replace(path, wrong)
    _note(path).unlink(missing_ok=True)
    return (
        f"{download.name} has {found}, published (by {download.published}) is {expected}: set aside as {wrong}. Try "
        f"once more; if it comes the same way again, what is at {download.url} has changed"
    )


def _receive_all(download: Download, part: Path) -> None:
    """Try until all bytes are in `part`."""
    best, failures = _size(part), 0
    bar = tqdm(total=download.size, initial=best, unit="B", unit_scale=True, desc=download.name, disable=None)
    with bar:
        while True:
            try:
                return _receive(download, part, bar)
            except web.Dropped as error:
                reached = _size(part)
                failures = 1 if reached >= best + PROGRESS else failures + 1
                best = max(best, reached)
                if failures > len(WAITS):
                    raise ConnectionError(
                        f"{download.url}: {error}; {failures} tries in a row brought nothing new. The {reached} bytes "
                        f"so far are kept in {part}: run the command again to go on"
                    ) from error
                wait = WAITS[failures - 1]
                bar.write(f"{download.name}: {error}; trying again in {wait} s", file=sys.stderr)
                time.sleep(wait)


def _receive(download: Download, part: Path, bar: tqdm) -> None:
    """One try: ask for what is missing, and take all where the server cannot go on or has another file by now."""
    have, known = _so_far(part, download.url)
    if have and have == known.get("size"):
        return
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        validator = next((known[key] for key in _VALIDATORS if not known.get(key, "W/").startswith("W/")), "")
        headers.update({"If-Range": validator} if validator else {})
    try:
        response, start, size = web.get(download.url, headers)
    except web.CannotResume:
        part.unlink(missing_ok=True)
        raise
    with response:
        said = {key: response.headers[key] for key in _VALIDATORS if key in response.headers} | {"size": size}
        if start and (start != have or not _same_file(known, said)):
            part.unlink()
            raise web.Dropped("the file on the server has changed")
        if size is not None and download.size not in (None, size):
            raise ValueError(
                f"{download.url} offers {size} bytes, published (by {download.published}) are {download.size}: the "
                "file has changed, or a page about it comes in its place"
            )
        if not start:
            part.unlink(missing_ok=True)  # before the note: what it says must never stand beside other bytes
            content = json.dumps({**said, "url": download.url}).encode()
            write_atomic(_note(part), lambda file: file.write(content))
        expected = download.size if size is None else size
        bar.n, bar.total = start, expected
        _write(response, part, start, expected, bar)


def _write(response: http.client.HTTPResponse, part: Path, start: int, expected: int | None, bar: tqdm) -> None:
    """Append the answer to `part`, which holds `start` bytes, up to the `expected` size, where it is known."""
    have, most, free = start, LIMIT if expected is None else expected, shutil.disk_usage(part.parent).free
    if expected is not None and expected - have > free:
        raise OSError(errno.ENOSPC, f"{expected - have} bytes are still to come, {free} are free", str(part))
    with open(part, "ab" if start else "wb") as file:
        while have <= most and (chunk := web.read(response)):
            have += len(chunk)
            file.write(chunk[: len(chunk) - max(0, have - most)])
            bar.update(len(chunk))
    if have > most:
        part.unlink()
        raise ValueError(f"{response.url} sends more than {most} bytes, which is all that the file may have")
    if expected is not None and have < expected:
        raise web.Dropped(f"the connection ended after {have} of {expected} bytes")


def _note(part: Path) -> Path:
    return part.with_suffix(".part.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _so_far(part: Path, url: str) -> tuple[int, dict]:
    """How many bytes are there to go on from, and what the server said of the file; none without such a note."""
    try:
        known = json.loads(_note(part).read_bytes())
    except (OSError, ValueError):
        return 0, {}
    have = _size(part)
    if not isinstance(known, dict) or known.get("url") != url or have > (known.get("size") or LIMIT):
        return 0, {}
    return have, known


def _same_file(known: dict, said: dict) -> bool:
    """Whether nothing that the server said then and says now differs."""
    return all(known[key] == value for key, value in said.items() if None not in (value, known.get(key)))
