"""Label images of 8 bits: palettes do not matter, other depths are refused, values go where their table says."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from small_sets import save_label

from ovss.datasets.label_images import read_values, relabel, unknown_values, warn_of_unknown

IMAGES = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=8))
TABLES = st.dictionaries(st.integers(0, 255), st.integers(0, 255))


def test_palette_and_grey_hold_the_same_values(tmp_path):
    values = np.arange(256).reshape(8, 32)
    for palette in (False, True):
        path = save_label(tmp_path / "a.png", values, palette)
        assert Image.open(path).mode == ("P" if palette else "L")
        read = read_values(path)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("RGB", "3 channels, expected one channel"),
        ("RGBA", "4 channels, expected one channel"),
        ("LA", "2 channels, expected one channel"),
        ("I;16", r"a label image of uint16, expected 8 bits a pixel \(uint8\)"),
        ("1", r"a label image of bool, expected 8 bits a pixel \(uint8\)"),
    ],
)
def test_another_depth_is_refused(tmp_path, mode, message):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png: {message}"):
        read_values(tmp_path / "a.png")


def test_missing_and_truncated(tmp_path):
    with pytest.raises(ValueError, match=r"a\.png: no such file"):
        read_values(tmp_path / "a.png")
    path = save_label(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (50, 50)))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"a\.png: .*truncated"):
        read_values(path)


@given(IMAGES, TABLES)
def test_relabel_is_a_look_up_pixel_by_pixel(values, table):
    new = relabel(values, table)
    assert new.dtype == np.uint8
    assert new.tolist() == [[table.get(value, 255) for value in row] for row in values.tolist()]


@given(IMAGES, TABLES)
def test_unknown_values(values, table):
    unknown = sorted(set(values.ravel().tolist()) - set(table))
    assert unknown_values(values, table) == unknown
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_unknown(values, table)
    assert len(caught) == bool(unknown)
