"""What users of the page give: a picture's file and a list of words, each within limits. Imports Pillow and numpy.

Both come from strangers. A picture is read by `ovss.images` alone, and words are never taken for the name of a file.
"""

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ovss.images import read_image_bytes
from ovss.report.markup import UNSHOWABLE
from ovss.vocabulary import Vocabulary

MAX_BYTES = 20 * 2**20  # of an uploaded file
MAX_DECODED = 50_000_000  # pixels of it; more is refused before it is decoded
# Larger pictures are scaled down to this: models see a few hundred pixels a side, what is above is enlarged labels.
MAX_PIXELS = 4_000_000
MAX_WORDS, MAX_LETTERS = 200, 80
ASK_WORDS = "no words to look for: give some, separated by commas, such as 'red star, grass'"


@dataclass(frozen=True)
class Picture:
    """`pixels` (H,W,3) uint8 RGB; `name`, that of its file; `note`, what the user should know of it, or empty.

    `number` is its own, and cannot be guessed.
    """

    pixels: np.ndarray
    name: str
    note: str = ""
    number: str = field(default_factory=lambda: secrets.token_hex(8))


def read_picture(path: Path) -> Picture:
    """Read a picture's file that was sent, scaled down to `MAX_PIXELS` where it is larger.

    Raises:
        FileNotFoundError: it is not there.
        ImageError: no picture that `ovss.images` reads, or more than `MAX_DECODED` pixels.
        ValueError: more than `MAX_BYTES`.
    """
    name, count = path.name, path.stat().st_size
    if count > MAX_BYTES:
        raise ValueError(f"{name} has {count / 2**20:.1f} MB, more than the limit of {MAX_BYTES // 2**20} MB")
    pixels = read_image_bytes(path.read_bytes(), name, MAX_DECODED)
    height, width = pixels.shape[:2]
    scale = (MAX_PIXELS / (height * width)) ** 0.5
    if scale >= 1:
        return Picture(pixels, name)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    smaller = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return Picture(smaller, name, f"scaled down from {width} x {height}")


def parse_words(text: str) -> Vocabulary:
    """Read words separated by commas or lines, each a class.

    Raises:
        ValueError: none, too many, too long ones, one twice, or one with signs that cannot be shown.
    """
    words = [word.strip() for word in re.split(r"[,\n]", text) if word.strip()]
    if not words:
        raise ValueError(ASK_WORDS)
    if len(words) > MAX_WORDS:
        raise ValueError(f"{len(words)} words, more than the limit of {MAX_WORDS}")
    for word in words:
        if UNSHOWABLE.search(word):
            raise ValueError(f"the word {UNSHOWABLE.sub('?', word)!r} has control signs: leave them out")
        if len(word) > MAX_LETTERS:
            raise ValueError(f"the word {word[:20]!r}... has {len(word)} letters, more than the limit of {MAX_LETTERS}")
    return Vocabulary.from_words(words)
