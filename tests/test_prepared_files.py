"""The three kinds of prepared files: what is written comes back, and no cut file passes for a whole one."""

import numpy as np
import pytest
from PIL import Image

from ovss.datasets.prepared_files import encode, whole_size

LABELS = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
ARRAYS = {
    ".png": LABELS,
    ".tif": LABELS.astype(np.uint16) * 257,
    ".jpg": np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8),
}


@pytest.mark.parametrize("suffix", ARRAYS)
def test_as_the_official_scripts_save(tmp_path, suffix):
    """`Image.fromarray(array).save(name)`, byte for byte."""
    Image.fromarray(ARRAYS[suffix]).save(tmp_path / f"official{suffix}")
    assert encode(ARRAYS[suffix], suffix) == (tmp_path / f"official{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_labels_come_back(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(ARRAYS[suffix], suffix))
    read = np.asarray(Image.open(path))
    assert read.dtype == ARRAYS[suffix].dtype
    np.testing.assert_array_equal(read, ARRAYS[suffix])


@pytest.mark.parametrize("suffix", ARRAYS)
def test_a_cut_file_is_not_whole(tmp_path, suffix):
    """But for the last 4 bytes of a PNG, the checksum of its empty last chunk, which Pillow does not read."""
    path = tmp_path / f"a{suffix}"
    content = encode(ARRAYS[suffix], suffix)
    whole = []
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        if whole_size(path) is not None:
            whole.append(length)
    assert whole == list(range(len(content) - (4 if suffix == ".png" else 0), len(content) + 1))
    assert whole_size(path) == (6, 9)


def test_every_flipped_byte_of_a_png_is_found(tmp_path):
    content = encode(LABELS, ".png")
    for position in range(len(content) - 12):  # the last chunk is empty
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        (tmp_path / "a.png").write_bytes(damaged)
        assert whole_size(tmp_path / "a.png") is None, f"byte {position}"


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".png", "P"), (".png", "RGB"), (".png", "I;16"), (".tif", "L"), (".jpg", "CMYK")]
)
def test_another_kind_under_this_suffix_is_not_whole(tmp_path, suffix, mode):
    path = tmp_path / f"a{suffix}"
    Image.new(mode, (3, 2)).save(path)
    assert whole_size(path) is None


def test_a_file_too_large_to_decode_is_not_whole(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encode(LABELS, ".png"))
    monkeypatch.setattr("ovss.images.MAX_PIXELS", LABELS.size - 1)
    assert whole_size(tmp_path / "a.png") is None


def test_no_file_and_another_format(tmp_path):
    assert whole_size(tmp_path / "absent.png") is None
    Image.new("L", (3, 2)).save(tmp_path / "a.png", format="TIFF")
    assert whole_size(tmp_path / "a.png") is None
