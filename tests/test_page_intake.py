"""What the web page takes from its users: pictures and words, within limits."""

from pathlib import Path

import numpy as np
import pytest
from page_pictures import png

from ovss.images import ImageError
from ovss.page import intake
from ovss.page.intake import (
    MAX_BYTES,
    MAX_DECODED,
    MAX_LETTERS,
    MAX_PIXELS,
    MAX_WORDS,
    Picture,
    parse_words,
    read_picture,
)


@pytest.fixture
def read(tmp_path):
    """A function that reads what was sent as a file of a name."""

    def read(content: bytes, name: str) -> Picture:
        (tmp_path / name).write_bytes(content)
        return read_picture(tmp_path / name)

    return read


def test_small_pictures_are_as_they_are_and_large_ones_scaled_down(read):
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert (read(png(small), "a.png").pixels == small).all()
    large = read(png(np.zeros((2500, 2000), np.uint8)), "b.png")
    height, width = large.pixels.shape[:2]
    assert height * width <= MAX_PIXELS
    assert height * width == pytest.approx(MAX_PIXELS, rel=1e-3)
    assert height / width == pytest.approx(2500 / 2000, rel=1e-3)
    assert large.note == "scaled down from 2000 x 2500"
    thin = read(png(np.zeros((1, MAX_PIXELS + 100), np.uint8)), "c.png")
    assert thin.pixels.shape[0] == 1


def test_pictures_that_cannot_be_taken(read, monkeypatch):
    with pytest.raises(ImageError, match=r"^note\.png: not a readable picture"):
        read(b"a text, no picture", "note.png")
    side = int(MAX_DECODED**0.5) + 1
    bomb = png(np.zeros((side, side), bool))
    assert len(bomb) < 2**20, "small as a file"
    with pytest.raises(
        ImageError, match=f"{side} x {side} = {side * side} pixels, more than the limit of {MAX_DECODED}"
    ):
        read(bomb, "bomb.png")
    monkeypatch.setattr(intake, "MAX_BYTES", 2**20)
    with pytest.raises(ValueError, match=r"a\.png has 2\.0 MB, more than the limit of 1 MB"):
        read(bytes(2 * 2**20), "a.png")


def test_a_file_that_is_too_large_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read"))
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match=r"a\.png has 20\.0 MB, more than the limit of 20 MB"):
        read_picture(tmp_path / "a.png")


def test_words():
    assert parse_words(" red star,grass\n\nbrick wall , ").names == ("red star", "grass", "brick wall")
    assert parse_words("/etc/passwd.txt, classes.json").names == ("/etc/passwd.txt", "classes.json"), "never a file"
    assert parse_words("etc/passwd.txt").names == ("etc/passwd.txt",)
    many = ", ".join(f"w{index}" for index in range(MAX_WORDS))
    assert len(parse_words(many).names) == MAX_WORDS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no words to look for"),
        (" ,\n, ", "no words to look for"),
        (", ".join(f"w{index}" for index in range(MAX_WORDS + 1)), f"201 words, more than the limit of {MAX_WORDS}"),
        ("a" * (MAX_LETTERS + 1), f"'{'a' * 20}'... has 81 letters, more than the limit of {MAX_LETTERS}"),
        ("red\x00star", r"'red\?star' has control signs"),
        ("\ud800", "control signs"),
        ("grass, grass", "names 'grass' twice"),
    ],
)
def test_words_that_cannot_be_taken(words, message):
    with pytest.raises(ValueError, match=message):
        parse_words(words)
