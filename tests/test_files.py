"""Files written whole: what a reader, another user or a full disk may find."""

import os

import pytest
import torch
from safetensors.torch import save_file

from ovss.files import remove_half_written, write_atomic


def test_replaces_or_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_mode_is_the_umasks(tmp_path):
    """Of safetensors too, which puts a file that its owner alone may read in place of the one it is given."""
    write_atomic(tmp_path / "plain", lambda file: file.write(b"x"))
    write_atomic(tmp_path / "tensors", lambda file: save_file({"x": torch.zeros(1)}, file.name))
    assert [oct(path.stat().st_mode & 0o777) for path in sorted(tmp_path.iterdir())] == ["0o640", "0o640"]


def test_half_written_files_of_killed_runs_are_told_from_others(tmp_path):
    def be_killed(file):
        names.append(os.path.basename(file.name))

    names: list[str] = []
    write_atomic(tmp_path / "a.json", be_killed)
    for name in (names[0], ".hidden", ".a.json.tmp", "a.0123abcd.tmp"):
        (tmp_path / name).touch()
    remove_half_written(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".a.json.tmp", ".hidden", "a.0123abcd.tmp", "a.json"]
