"""The three kinds of files that preparation writes, as the official scripts wrote them. Imports numpy and Pillow.

| suffix | content | read as |
|---|---|---|
| .png | labels of up to 255 classes | uint8 (H,W) |
| .tif | labels of more classes | uint16 (H,W) |
| .jpg | a resized picture, at Pillow's own quality | uint8 (H,W,3) RGB, or (H,W) grey |
"""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ovss.images import check_size


class Kind(NamedTuple):
    format: str
    dtype: type
    channels: dict[str, tuple[int, ...]]  # by mode: what follows (H,W) in the shape


KINDS = {
    ".png": Kind("PNG", np.uint8, {"L": ()}),
    ".tif": Kind("TIFF", np.uint16, {"I;16": ()}),
    ".jpg": Kind("JPEG", np.uint8, {"RGB": (3,), "L": ()}),
}


def encode(array: np.ndarray, suffix: str) -> bytes:
    """The bytes of a file: `array` is of the type and shape that belong to `suffix` (see above)."""
    kind = KINDS[suffix]
    assert array.dtype == kind.dtype, f"{array.dtype} for {suffix}"
    assert array.shape[2:] in kind.channels.values(), f"{array.shape} for {suffix}"
    file = io.BytesIO()
    Image.fromarray(array).save(file, format=kind.format)
    return file.getvalue()


def whole_size(path: Path) -> tuple[int, int] | None:
    """(H, W) of a file that is whole, to its last pixel and checksum, and of the kind of its suffix; else None."""
    kind = KINDS[path.suffix]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow says of a damaged file: it is made again
            with Image.open(path, formats=[kind.format]) as image:
                image.verify()
            with Image.open(path, formats=[kind.format]) as image:  # Pillow wants it opened again after `verify`
                check_size(image)
                image.load()
                return (image.height, image.width) if image.mode in kind.channels else None
    except Exception:  # decoders of broken files raise nearly anything
        return None
