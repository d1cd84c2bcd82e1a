"""One file over HTTP: resumed where it broke off, bounded, and there under its name only when it is whole and right.

The bytes so far stand in NAME.part, what the server said of them in NAME.part.json. Imports the standard library, tqdm,
`ovss.files` and this package.
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

from ovss.download import web
from ovss.download.remote_file import RemoteFile
from ovss.files import write_atomic

WAITS = (1, 2, 4, 8, 16)  # seconds before each new try, while tries bring nothing new
PROGRESS = 1 << 16  # bytes that a try must add to count as one that brought something
_VALIDATORS = ("ETag", "Last-Modified")


def fetch(remote: RemoteFile, folder: Path) -> Path:
    """Download into `folder`, or take what is there already, and return the file, whole and checked.

    Raises:
        ValueError: the server offers something else than was published (size, checksum), or redirects elsewhere.
        ConnectionError: a refusal, or too many tries in a row that brought nothing new; the bytes so far are kept.
        OSError: the disk is full or cannot be written.
    """
    path, part = folder / remote.name, folder / f"{remote.name}.part"
    if path.exists():
        verify(path, remote)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    _receive_all(remote, part)
    verify(part, remote)
    os.replace(part, path)
    _note(part).unlink(missing_ok=True)
    return path


def verify(path: Path, remote: RemoteFile) -> None:
    """Raise ValueError unless size and checksum are the published ones; a wrong file is set aside as NAME.wrong."""
    if wrong := mismatch(path, remote):
        aside = path.with_name(f"{remote.name}.wrong")
        os.replace(path, aside)
        _note(path).unlink(missing_ok=True)
        raise ValueError(
            f"{remote.name} {wrong}: set aside as {aside}. Try once more; if it comes the same way again, what is at "
            f"{remote.url} has changed"
        )


def mismatch(path: Path, remote: RemoteFile) -> str:
    """What differs between a file and what was published of it, with both values; "" where nothing does."""
    size = path.stat().st_size
    if remote.size not in (None, size):
        return f"has {size} bytes, published (by {remote.published}) is {remote.size} bytes"
    if not remote.checksum:
        return ""
    algorithm, expected = remote.checksum.split(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    desc = f"checking {remote.name}"
    with open(path, "rb") as file, tqdm(total=size, unit="B", unit_scale=True, desc=desc, disable=None) as bar:
        while chunk := file.read(web.CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() == expected:
        return ""
    return f"has {algorithm} {digest.hexdigest()}, published (by {remote.published}) is {algorithm} {expected}"


def _receive_all(remote: RemoteFile, part: Path) -> None:
    """Try until all bytes are in `part`."""
    best, failures = _size(part), 0
    bar = tqdm(total=remote.size, initial=best, unit="B", unit_scale=True, desc=remote.name, disable=None)
    with bar:
        while True:
            try:
                return _receive(remote, part, bar)
            except web.Dropped as error:
                reached = _size(part)
                failures = 1 if reached >= best + PROGRESS else failures + 1
                best = max(best, reached)
                if failures > len(WAITS):
                    raise ConnectionError(
                        f"{remote.url}: {error}; {failures} tries in a row brought nothing new. The {reached} bytes "
                        f"so far are kept in {part}: run the command again to go on"
                    ) from error
                wait = WAITS[failures - 1]
                bar.write(f"{remote.name}: {error}; trying again in {wait} s", file=sys.stderr)
                time.sleep(wait)


def _receive(remote: RemoteFile, part: Path, bar: tqdm) -> None:
    """One try: ask for what is missing, and take all where the server cannot go on or has another file by now."""
    have, known = _so_far(part, remote)
    if have and have == known.get("size"):
        return
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        validator = next((known[key] for key in _VALIDATORS if not known.get(key, "W/").startswith("W/")), "")
        headers.update({"If-Range": validator} if validator else {})
    try:
        response, start, size = web.get(remote.url, headers)
    except web.CannotResume:
        part.unlink(missing_ok=True)
        raise
    with response:
        said = {key: response.headers[key] for key in _VALIDATORS if key in response.headers} | {"size": size}
        if start and (start != have or not _same_file(known, said)):
            part.unlink()
            raise web.Dropped("the file on the server has changed")
        if size is not None and remote.size not in (None, size):
            raise ValueError(
                f"{remote.url} offers {size} bytes, published (by {remote.published}) are {remote.size}: the "
                "file has changed, or a page about it comes in its place"
            )
        if not remote.checksum and response.headers.get_content_type() == "text/html":
            raise ValueError(f"{remote.url} answers with a page, not with the file")
        if not start:
            part.unlink(missing_ok=True)  # before the note: what it says must never stand beside other bytes
            content = json.dumps({**said, "url": remote.url}).encode()
            write_atomic(_note(part), lambda file: file.write(content))
        expected = remote.size if size is None else size
        bar.n, bar.total = start, expected
        _write(response, part, start, expected, remote.limit, bar)


def _write(
    response: http.client.HTTPResponse, part: Path, start: int, expected: int | None, limit: int, bar: tqdm
) -> None:
    """Append the answer to `part`, which holds `start` bytes, up to the `expected` size or, unknown, the `limit`."""
    have, most, free = start, limit if expected is None else expected, shutil.disk_usage(part.parent).free
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


def _so_far(part: Path, remote: RemoteFile) -> tuple[int, dict]:
    """How many bytes are there to go on from, and what the server said of the file; none without such a note."""
    try:
        known = json.loads(_note(part).read_bytes())
    except (OSError, ValueError):
        return 0, {}
    have = _size(part)
    if not isinstance(known, dict) or known.get("url") != remote.url or have > (known.get("size") or remote.limit):
        return 0, {}
    return have, known


def _same_file(known: dict, said: dict) -> bool:
    """Whether nothing that the server said then and says now differs."""
    return all(known[key] == value for key, value in said.items() if None not in (value, known.get(key)))
