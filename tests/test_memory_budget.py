"""How much memory a pass may use, and what is told to the allocator."""

import ctypes
import sys
from types import SimpleNamespace

import pytest
import torch

from ovss import allocator, memory

CPU = torch.device("cpu")


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A machine with 64 GiB free, and the files in which a container says what it may use."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_of_machine", lambda: 2**36)

    def write(limit, used, files):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text(str(used))
        (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {files}\nactive_file 7\n")

    return write


def test_no_container(container):
    assert memory.free_memory(CPU) == 2**36
    container("max", 2**30, 0)
    assert memory.free_memory(CPU) == 2**36


def test_a_container_keeps_copies_of_files(container):
    """Of a limit of 4 GiB 3 are used, 2 of them by what was read from files."""
    container(str(2**32), 3 * 2**30, 2**31 - 7)
    assert memory.free_memory(CPU) == 3 * 2**30
    assert memory.default_budget(CPU) == 3 * 2**28
    container(str(2**32), 2**33, 0)
    assert memory.free_memory(CPU) == 0


def test_the_machine_says_what_is_free():
    assert 2**20 < memory.free_memory(CPU) < 2**50
    assert memory.default_budget(CPU) <= 2**30


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_what_glibc_is_told(monkeypatch):
    told = []
    library = SimpleNamespace(mallopt=lambda option, value: told.append((option, value)) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert allocator.keep_freed_memory()
    assert told == [(-3, 2**25), (-1, 2**28)]  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not allocator.keep_freed_memory(), "another C library"
