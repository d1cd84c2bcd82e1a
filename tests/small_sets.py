"""Small benchmarks in the official folders and formats, for the tests of their preparation."""

from pathlib import Path

import numpy as np
from PIL import Image


def save_label(path: Path, values: np.ndarray | list[list[int]], palette: bool = False) -> Path:
    """A label image of 8 bits, grey or with a palette that is not grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette:
        image.putpalette([(37 * value) % 256 for value in range(768)])
    image.save(path)
    return path


def save_pair(folder: Path, labels: str, pictures: str, name: str, values: list[list[int]], **options) -> None:
    """A label image and a picture of its size, below a folder."""
    height, width = np.asarray(values).shape
    save_label(folder / labels / f"{name}.png", values, **options)
    (folder / pictures).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "teal").save(folder / pictures / f"{name}.jpg")


def read(path: Path) -> list[list[int]]:
    """The pixels of a prepared label image, which has one channel of grey."""
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image).tolist()
