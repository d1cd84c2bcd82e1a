"""A pickle read as data: what is kept, and that nothing which a file asks for is imported, built or called."""

import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovss.datasets import pickle_data
from ovss.datasets.pickle_data import OMITTED, read_pickle_data

NAMES = ["ADE_val_00000001.jpg", "ADE_train_00000002.jpg", "ADE_val_é.jpg"]


class Reduced:
    """Pickled as a call of any function; unpickling it would make that call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def read(tmp_path):
    """Bytes -> what is read from a file of them."""

    def read(content):
        path = tmp_path / "index.pkl"
        path.write_bytes(content)
        return read_pickle_data(path)

    return read


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_strings_and_containers_stay_arrays_and_numbers_go(read, protocol):
    index = {
        "filename": NAMES,
        "folder": ["a/b"] * 3,
        "objectPresence": np.zeros((200, 300)),
        "fortran": np.asfortranarray(np.ones((3, 4), np.uint8)),
        "mixed": np.array([["word", None], [1, 2.5]], dtype=object),
        "scalar": np.float32(3),
        "pair": ("a", 7, None, True, b"bytes"),
        "description": {"filename": "the names", 5: "no string"},
        "empty": ([], (), {}),
    }
    assert read(pickle.dumps(index, protocol)) == {
        "filename": NAMES,
        "folder": ["a/b"] * 3,
        **dict.fromkeys(("objectPresence", "fortran", "mixed", "scalar"), OMITTED),
        "pair": ("a", OMITTED, OMITTED, OMITTED, OMITTED),
        "description": {"filename": "the names"},
        "empty": ([], (), {}),
    }


@given(
    st.recursive(
        st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner) | st.tuples(inner, inner),
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_equals_pickle_on_strings_and_containers(tmp_path_factory, value, protocol):
    path = tmp_path_factory.getbasetemp() / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    assert read_pickle_data(path) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["value", "in a list", "in an array", "state of an array"])
@pytest.mark.parametrize(("function", "name"), [(os.system, "system"), (eval, "eval"), (getattr, "getattr")])
def test_a_call_is_named_and_not_made(read, tmp_path, protocol, place, function, name):
    trace = tmp_path / "trace"
    command = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    evil = Reduced(function, command)
    value = {
        "value": evil,
        "in a list": ["a", [evil]],
        "in an array": np.array([evil, 1], dtype=object),
        "state of an array": Reduced(np.dtype, evil),
    }[place]
    with pytest.raises(ValueError, match=rf"index.pkl: not read: it asks for \w+.{name}, which no index"):
        read(pickle.dumps({"filename": value}, protocol))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    {
        "result of a call called": (b"cnumpy\ndtype\n(tR(tR.", "calls something that is none of numpy's"),
        "list called": (b"](tR.", "calls something that is none of numpy's"),
        "state of a dict": (b"}}b.", "state of something that is no array"),
        "state of a class": (b"cnumpy\nndarray\n}b.", "state of something that is no array"),
        "copyreg": (b"ccopyreg\n_reconstructor\n(tR.", "asks for copyreg._reconstructor"),
        "stack global": (b"\x8c\x02os\x8c\x06system\x93.", "asks for os.system"),
        "number as a global": (b"K\x01K\x02\x93.", "asks for"),
        "persistent id": (b"Pname\n.", "opcode PERSID"),
        "persistent object": (b"]Q.", "opcode BINPERSID"),
        "instance": (b"(ios\nsystem\n.", "opcode INST"),
        "object": (b"(cnumpy\ndtype\no.", "opcode OBJ"),
        "new object": (b"cnumpy\ndtype\n)\x81.", "opcode NEWOBJ"),
        "extension registry": (b"\x82\x01.", "opcode EXT1"),
        "buffer out of band": (b"\x97.", "opcode NEXT_BUFFER"),
        "items for a string": (b"\x8c\x01aK\x01a.", "items for a list that is none"),
        "key without a value": (b"(K\x01d.", "key without a value"),
        "items below the mark": (b"]]((a.", "damaged pickle"),
        "memo never filled": (b"h\x07.", "damaged pickle"),
        "empty stack": (b".", "damaged pickle"),
        "no pickle": (b"<html>", "opcode b'<' unknown"),
        "empty file": (b"", "exhausted before seeing STOP"),
        "length of 4 exabytes": (b"\x8e" + struct.pack("<Q", 1 << 62) + b"abc.", ""),
    }.values(),
)  # fmt: skip
def test_tricks_and_damage_are_mistakes_of_the_file(read, content, reason):
    with pytest.raises(ValueError, match=rf"index.pkl: not read: .*{reason}"):
        read(content)


def test_every_cut_of_a_good_file_is_a_mistake(read):
    whole = pickle.dumps({"filename": NAMES, "table": np.ones(3)}, 4)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"index.pkl: not read"):
            read(whole[:length])


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(content)
    message = "any.pkl: not read"
    try:
        read_pickle_data(path)
    except ValueError as error:
        message = str(error)
    assert "any.pkl: not read" in message


def test_a_high_place_in_the_memo_costs_no_memory(read):
    """`pickle.load` would make a table of 2**31 places."""
    tracemalloc.start()
    assert read(b"]r\xff\xff\xff\x7f.") == []
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("protocol", [2, 4])  # as text, as bytes
def test_arrays_are_not_kept(read, protocol):
    names = [f"table{number}" for number in range(10)]
    content = pickle.dumps({name: np.zeros(1_000_000, np.uint8) for name in names}, protocol)
    tracemalloc.start()
    index = read(content)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index == dict.fromkeys(names, OMITTED)
    assert now < 100_000
    assert peak < 5_000_000


def test_limits(read, monkeypatch):
    content = pickle.dumps(["a", "b", "c"])
    monkeypatch.setattr(pickle_data, "MAX_KEPT", 3)
    with pytest.raises(ValueError, match="more than 3 strings and containers"):
        read(content)
    monkeypatch.setattr(pickle_data, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match=rf"{len(content)} bytes, more than the limit of 10"):
        read(content)
