"""MATLAB files: equal to SciPy's reader on whole ones, a mistake that names the file on all others."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.io import loadmat, savemat

from ovss.datasets import mat_file
from ovss.datasets.mat_file import read_uint16

VALUES = np.array([[1, 431, 459], [2, 2, 300]], np.uint16)
SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.mat"


def element(type, data, order="<"):
    return struct.pack(f"{order}II", type, len(data)) + data + bytes(-len(data) % 8)


def matlab(*elements, order="<", version=0x0100):
    """A file of elements, as its description has it: text, no subsystem, version, order of bytes."""
    mark = b"IM" if order == "<" else b"MI"
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", version) + mark + b"".join(elements)


def matrix(values, type=4, dtype="u2", order="<", name=b"LabelMap", kind=11, extra=()):
    numbers = np.asarray(values).astype(order + dtype)
    parts = [
        element(6, struct.pack(f"{order}II", kind, 0), order),
        element(5, struct.pack(f"{order}2i", *numbers.shape), order),
        element(1, name, order),
        element(type, numbers.tobytes(order="F"), order),
        *extra,
    ]
    return element(14, b"".join(parts), order)


@pytest.mark.parametrize("packed", [False, True])
@given(values=arrays(np.uint16, SHAPES))
def test_equals_scipy(tmp_path_factory, packed, values):
    path = tmp_path_factory.getbasetemp() / "equal.mat"
    others = {"x": 1.5, "words": np.array(["a", "b"], dtype=object), "record": {"LabelMap": [1]}}
    savemat(path, {**others, "LabelMap": values, "last": "text"}, do_compression=packed)
    read = read_uint16(path, "LabelMap")
    assert read.dtype == np.uint16
    assert np.array_equal(read, values)
    assert np.array_equal(read, loadmat(path)["LabelMap"])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("type", "dtype"), [(1, "i1"), (2, "u1"), (3, "i2"), (4, "u2")])
def test_stored_in_a_smaller_type_and_either_order(path, order, type, dtype):
    """MATLAB keeps small numbers in bytes; SciPy writes neither these nor the other order, but reads both."""
    path.write_bytes(matlab(matrix([[1, 2, 127], [0, 5, 6]], type, dtype, order), order=order))
    assert read_uint16(path, "LabelMap").tolist() == [[1, 2, 127], [0, 5, 6]]
    assert loadmat(path)["LabelMap"].tolist() == [[1, 2, 127], [0, 5, 6]]


def test_packed_elements_follow_each_other_without_zeros(path):
    packed = [zlib.compress(matrix(VALUES, name=name)) for name in (b"other", b"LabelMap")]
    path.write_bytes(matlab(*(struct.pack("<II", 15, len(data)) + data for data in packed)))
    assert read_uint16(path, "LabelMap").tolist() == VALUES.tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    {
        "empty": (b"", "not a MATLAB file of version 5"),
        "a page": (b"<html>" * 100, "not a MATLAB file of version 5"),
        "version 7.3": (matlab(version=0x0200), "a MATLAB 7.3 file .* -v7"),
        "no variable": (matlab(), "it has no LabelMap; it has no variable"),
        "other names": (matlab(matrix(VALUES, name=b"a"), matrix(VALUES, name=b"b")), "no LabelMap; it has a, b"),
        "double": (matlab(matrix(VALUES, kind=6)), r"LabelMap is double of shape \(2, 3\), expected uint16"),
        "unknown class": (matlab(matrix(VALUES, kind=99)), "LabelMap is unknown of shape"),
        "no pixel": (matlab(matrix(np.ones((0, 3)))), r"uint16 of shape \(0, 3\)"),
        "type 32516": (matlab(matrix(VALUES, type=0x7F04)), r"values of types \[32516\]"),
        "imaginary part": (matlab(matrix(VALUES, extra=[element(4, b"12")])), r"values of types \[4, 4\]"),
        "below 0": (matlab(matrix([[-1, 2]], 3, "i2")), "some below 0"),
        "too few": (matlab(matrix(VALUES).replace(b"\x02\0\0\0\x03\0\0\0", b"\x02\0\0\0\x04\0\0\0")), "has 6 values"),
        "cut": (matlab(matrix(VALUES))[:-5], "damaged: an element of .* bytes, of which"),
        "packing damaged": (matlab(element(15, b"nothing packed")), "damaged: Error"),
    }.values(),
)  # fmt: skip
def test_others_are_named(path, content, reason):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a.mat: .*{reason}"):
        read_uint16(path, "LabelMap")


@given(st.lists(st.tuples(st.integers(100, 215), st.sampled_from([0, 1, 4, 127, 128, 255])), min_size=1, max_size=6))
def test_damaged_bytes_are_a_mistake_or_other_values(tmp_path_factory, changes):
    """SciPy 1.17 ends the process on some of these."""
    content = bytearray(matlab(matrix(VALUES)))
    for place, byte in changes:
        content[place % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    path.write_bytes(content)
    message = f"{path}: "
    try:
        assert read_uint16(path, "LabelMap").dtype == np.uint16
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")


def test_limits(path, monkeypatch):
    """Of the file, and of what a small file unpacks to."""
    packed = zlib.compress(matrix(np.ones((2000, 2000))))
    path.write_bytes(matlab(struct.pack("<II", 15, len(packed)) + packed))
    assert read_uint16(path, "LabelMap").size == 4_000_000
    monkeypatch.setattr(mat_file, "MAX_BYTES", 7_000_000)
    with pytest.raises(ValueError, match=r"damaged: an element of 8000056 bytes, of which 6999992 are there"):
        read_uint16(path, "LabelMap")
    monkeypatch.setattr(mat_file, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match=rf"{path.stat().st_size} bytes, more than the limit of 100"):
        read_uint16(path, "LabelMap")


def test_no_file(path):
    with pytest.raises(ValueError, match=r"a.mat: no such file"):
        read_uint16(path, "LabelMap")
