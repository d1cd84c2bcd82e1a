"""Archives from strangers become files below a folder, and nothing else: no path outside, no link, no device.

An archive is read through before the first file is written. Imports the standard library, tqdm and `ovss.files`.
"""

import errno
import gzip
import io
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

from tqdm import tqdm

from ovss.files import remove_half_written, write_atomic

Folders = Sequence[tuple[str, str]]  # (path in the archive, path below the root)

LIMIT = 64 << 30  # bytes that an archive may hold; the largest of the table, COCO's training photos, holds 19 GB
CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)
TRAILER = 1 << 20  # bytes of padding that may follow the last entry of a tar
_ENCRYPTED = 0x1  # bit of a zip entry's flags


class _Member(NamedTuple):
    """A file in an archive: its name there, size in bytes, whether it is a plain file, and what opens it."""

    name: str
    size: int
    plain: bool
    open: Callable[[], IO[bytes] | io.RawIOBase | None]


def unpack(archive: Path, folders: Folders, root: Path) -> dict[str, int]:
    """Unpack what `folders` name, pairs of (path in the archive, path below `root`); files appear whole or not at all.

    A file that is there with the right size is kept, so that a run that was stopped goes on. Checksums inside a zip or
    gz are verified.

    Returns:
        Number of files of each path below `root`.

    Raises:
        ValueError: a damaged archive, one that holds nothing of that, too much, or a name or an entry that is unsafe.
        OSError: the disk is full or cannot be written.
    """
    try:
        with _opened(archive) as members:
            chosen = _choose(members, folders)
            missing = {path: member for path, member in chosen.items() if not _is_there(root / path, member)}
            _check_space(root, missing)
            for path, member in tqdm(missing.items(), unit="file", desc=f"unpacking {archive.name}", disable=None):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                write_atomic(root / path, partial(_copy, member))
            for folder in {(root / path).parent for path in chosen}:
                remove_half_written(folder)
    except _DAMAGED as error:
        raise ValueError(f"{archive} is damaged ({error or type(error).__name__})") from error
    except ValueError as error:
        raise ValueError(f"{archive}: {error}") from error
    return {folder: sum(PurePosixPath(folder) in (path, *path.parents) for path in chosen) for _, folder in folders}


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    """Every entry that is no folder; a file that is no archive has itself, without a name."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(packed)
    elif ".tar" in archive.suffixes:
        opened = gzip.GzipFile if archive.suffix == ".gz" else io.FileIO
        with opened(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as packed:
            yield _tar_members(packed, stream)
    else:
        yield iter([_Member("", archive.stat().st_size, True, partial(io.FileIO, archive))])


def _zip_members(packed: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in packed.infolist():
        if entry.header_offset < 0:  # zipfile itself would fail with EINVAL, as a disk might
            raise zipfile.BadZipFile(f"{entry.filename!r} lies before the file's first byte")
        if not entry.is_dir():
            plain = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG) and not entry.flag_bits & _ENCRYPTED
            yield _Member(entry.filename, entry.file_size, plain, partial(packed.open, entry))


def _tar_members(packed: tarfile.TarFile, stream: io.BufferedIOBase | io.RawIOBase) -> Iterator[_Member]:
    for entry in packed:
        if not entry.isdir():
            plain = entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
            yield _Member(entry.name, entry.size, plain, partial(packed.extractfile, entry))
    if len(stream.read(TRAILER + 1)) > TRAILER:  # to the end, where the checksum of a gz is
        raise tarfile.ReadError("something that is no entry follows the last one")


def _choose(members: Iterator[_Member], folders: Folders) -> dict[PurePosixPath, _Member]:
    """The members that `folders` name, by path below the root. Raises ValueError for what is unsafe or too much."""
    chosen, total = {}, 0
    for member in members:
        total += member.size
        if total > LIMIT:
            raise ValueError(f"holds at least {total} bytes, more than the {LIMIT} that an archive may hold")
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or "\\" in member.name:
            raise ValueError(f"the name {member.name!r} leads out of the folder")
        for inside, folder in folders:
            if PurePosixPath(inside) in (name, *name.parents):
                if not member.plain:
                    raise ValueError(f"{member.name!r} is no plain file (a link, a device, or encrypted)")
                chosen[PurePosixPath(folder) / name.relative_to(inside)] = member
    if not chosen:
        raise ValueError(f"holds nothing below {' or '.join(inside for inside, _ in folders)}")
    return chosen


def _is_there(path: Path, member: _Member) -> bool:
    return path.is_file() and path.stat().st_size == member.size


def _check_space(root: Path, missing: dict[PurePosixPath, _Member]) -> None:
    """Raise OSError where the disk has no room; a set's own folder may be a link to another disk than the root's."""
    if missing:
        path = root / next(iter(missing))
        folder = next(parent for parent in path.parents if parent.exists())
        needed, free = sum(member.size for member in missing.values()), shutil.disk_usage(folder).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"unpacking needs {needed} bytes, {free} are free", str(folder))


def _copy(member: _Member, file: BinaryIO) -> None:
    """Write all bytes of `member`; reading a zip's entry to its end verifies the checksum."""
    left, source = member.size, member.open()
    assert source is not None, "a plain file has content"
    with source:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                break
            file.write(chunk)
    if left:
        raise ValueError(f"{member.name!r} does not have the {member.size} bytes that the archive says")
