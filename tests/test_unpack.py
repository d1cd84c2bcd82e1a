"""Archives that are whole, damaged, hostile or half unpacked."""

import gzip
import io
import tarfile
import zipfile
from collections import namedtuple
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovss.datasets import unpack as module
from ovss.datasets.unpack import unpack

FILES = {"set/a/1.jpg": b"one", "set/a/2.jpg": b"two" * 1000, "set/notes.txt": b"n", "__MACOSX/set/a/1.jpg": b"junk"}
FOLDERS = (("set/a", "photos"), ("set/notes.txt", "notes/set.txt"))
UNPACKED = {"photos/1.jpg": b"one", "photos/2.jpg": b"two" * 1000, "notes/set.txt": b"n"}


def make_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("set/", b"")
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def make_tar(path, files=FILES, entries=()):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            packed.addfile(info)
    return path


def make(path, files=FILES):
    return make_zip(path, files) if path.suffix == ".zip" else make_tar(path, files)


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["a.zip", "a.11-May.tar", "a.tar.gz"])
def test_named_folders_only_and_what_is_there_is_kept(tmp_path, name):
    archive, root = make(tmp_path / name), tmp_path / "root"
    assert unpack(archive, FOLDERS, root) == {"photos": 2, "notes/set.txt": 1}
    assert contents(root) == UNPACKED
    (root / "photos/1.jpg").write_bytes(b"ONE")  # as long as the packed one: kept
    (root / "photos/2.jpg").write_bytes(b"half")
    (root / "photos/.2.jpg.0123abcd.tmp").write_bytes(b"of a run that was killed")
    assert unpack(archive, FOLDERS, root) == {"photos": 2, "notes/set.txt": 1}
    assert contents(root) == {**UNPACKED, "photos/1.jpg": b"ONE"}


def test_file_that_is_no_archive_goes_to_its_place(tmp_path):
    (tmp_path / "a.json").write_bytes(b"{}")
    assert unpack(tmp_path / "a.json", (("", "deep/a.json"),), tmp_path / "root") == {"deep/a.json": 1}
    assert contents(tmp_path / "root") == {"deep/a.json": b"{}"}


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["../evil", "set/a/../../../evil", "/tmp/evil", "set/a/..\\..\\evil"])
def test_name_that_leads_out_is_refused_before_anything_is_written(tmp_path, suffix, name):
    archive = make(tmp_path / f"a{suffix}", {**FILES, name: b"evil"})
    with pytest.raises(ValueError, match=r"a\.(zip|tar): the name .* leads out of the folder"):
        unpack(archive, FOLDERS, tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "/etc/passwd"), (tarfile.CHRTYPE, ""), (tarfile.FIFOTYPE, "")],
)
def test_link_or_device_in_a_tar_is_refused(tmp_path, kind, target):
    archive = make_tar(tmp_path / "a.tar", entries=[("set/a/3.jpg", kind, target)])
    with pytest.raises(ValueError, match=r"'set/a/3\.jpg' is no plain file"):
        unpack(archive, FOLDERS, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_link_in_a_zip_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a") as packed:
        link = zipfile.ZipInfo("set/a/link")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="'set/a/link' is no plain file"):
        unpack(archive, FOLDERS, tmp_path / "root")


def test_link_outside_of_the_named_folders_stays_packed(tmp_path):
    archive = make_tar(tmp_path / "a.tar", entries=[("set/link", tarfile.SYMTYPE, "/etc")])
    unpack(archive, FOLDERS, tmp_path / "root")
    assert contents(tmp_path / "root") == UNPACKED


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_more_than_the_limit_is_refused(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(module, "LIMIT", 3000)
    with pytest.raises(ValueError, match=r"holds at least 300\d bytes, more than the 3000"):
        unpack(make(tmp_path / f"a{suffix}"), FOLDERS, tmp_path / "root")


def test_full_disk_is_met_before_the_first_file(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(0, 0, 3003))
    with pytest.raises(OSError, match="unpacking needs 3004 bytes, 3003 are free"):
        unpack(make_zip(tmp_path / "a.zip"), FOLDERS, tmp_path / "root")


def test_archive_of_something_else_says_what_was_sought(tmp_path):
    with pytest.raises(ValueError, match=r"a\.zip: holds nothing below set/a or set/notes\.txt"):
        unpack(make_zip(tmp_path / "a.zip", {"other/1.jpg": b""}), FOLDERS, tmp_path / "root")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_page_in_place_of_an_archive(tmp_path, name):
    (tmp_path / name).write_text("<html>Too many requests</html>" * 99)
    with pytest.raises(ValueError, match="is damaged"):
        unpack(tmp_path / name, FOLDERS, tmp_path / "root")


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), truncate=st.booleans())
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_damage_is_never_unpacked_unnoticed(tmp_path_factory, name, place, bit, truncate):
    """One bit flipped or the end cut off: an error, or what was packed, never another content."""
    folder = tmp_path_factory.mktemp("damage")
    archive = make(folder / name)
    data = bytearray(archive.read_bytes())
    position = int(place * len(data))
    if truncate:
        del data[position:]
    else:
        data[position] ^= 1 << bit
    archive.write_bytes(data)
    with suppress(ValueError):
        unpack(archive, FOLDERS, folder / "root")
    found = contents(folder / "root")
    assert found.items() <= UNPACKED.items() or name == "a.zip"  # a zip's names have no checksum
    assert set(found.values()) <= {*UNPACKED.values(), FILES["__MACOSX/set/a/1.jpg"]}


def test_gz_of_a_changed_tar_is_damaged(tmp_path):
    """The sum of a gz stands after all entries: it is read before the first file is written."""
    archive = make_tar(tmp_path / "a.tar.gz")
    data = bytearray(archive.read_bytes())
    data[-8] ^= 1  # first byte of the sum
    archive.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged"):
        unpack(archive, FOLDERS, tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert gzip.BadGzipFile.__mro__[1] is OSError  # so it must be caught apart from a full disk
