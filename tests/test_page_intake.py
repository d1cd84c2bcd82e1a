"""What the web page takes from its users: pictures and words, within limits."""

import numpy as np
import pytest
from page_pictures import png

from ovss.images import ImageError
from ovss.page import intake
from ovss.page.intake import MAX_DECODED, MAX_LETTERS, MAX_PIXELS, MAX_WORDS, parse_words, read_picture


def test_small_pictures_are_as_they_are_and_large_ones_scaled_down():
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert (read_picture(png(small), "a.png").pixels == small).all()
    large = read_picture(png(np.zeros((2500, 2000), np.uint8)), "b.png")
    height, width = large.pixels.shape[:2]
    assert height * width <= MAX_PIXELS
    assert height * width == pytest.approx(MAX_PIXELS, rel=1e-3)
    assert height / width == pytest.approx(2500 / 2000, rel=1e-3)
    assert large.note == "scaled down from 2000 x 2500"
    thin = read_picture(png(np.zeros((1, MAX_PIXELS + 100), np.uint8)), "c.png")
    assert thin.pixels.shape[0] == 1


def test_pictures_that_cannot_be_taken(monkeypatch):
    with pytest.raises(ImageError, match=r"^note\.png: not a readable picture"):
        read_picture(b"a text, no picture", "note.png")
    side = int(MAX_DECODED**0.5) + 1
    bomb = png(np.zeros((side, side), bool))
    assert len(bomb) < 2**20, "small as a file"
    with pytest.raises(
        ImageError, match=f"{side} x {side} = {side * side} pixels, more than the limit of {MAX_DECODED}"
    ):
        read_picture(bomb, "bomb.png")
    monkeypatch.setattr(intake, "MAX_BYTES", 2**20)
    with pytest.raises(ValueError, match=r"a\.png has 2\.0 MB, more than the limit of 1 MB"):
        read_picture(bytes(2 * 2**20), "a.png")


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
