"""Packed records: the same dicts again."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovss.d2.training.records import PackedRecords

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=30)
@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6))
def test_every_record_comes_back(records):
    packed = PackedRecords(records)
    assert len(packed) == len(records)
    assert [packed[index] for index in reversed(range(len(packed)))] == records[::-1]


def test_each_access_is_a_dict_of_its_own():
    packed = PackedRecords({"file_name": name} for name in "ab")
    packed[1]["file_name"] = "changed"
    assert packed[1] == {"file_name": "b"}


def test_paths_become_text_and_anything_else_is_refused():
    assert PackedRecords([{"file_name": Path("a/b.jpg")}])[0] == {"file_name": str(Path("a/b.jpg"))}
    with pytest.raises(ValueError, match=r"a record of a data set holds more than names, numbers and lists: .*set"):
        PackedRecords([{"file_name": {"a"}}])
