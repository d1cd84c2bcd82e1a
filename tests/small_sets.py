"""Small benchmarks in the official folders and formats, for the tests of their preparation."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ovss.datasets.detail import FILE, FOLDER


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


def region(image_id: int, category: int, size: tuple[int, int], counts: object) -> dict:
    """An entry of PASCAL-Context's annotation file."""
    return {"image_id": image_id, "category_id": category, "segmentation": {"size": list(size), "counts": counts}}


def save_annotations(root: Path, pictures: dict[str, tuple[str, tuple[int, int]]], regions: list[dict]) -> None:
    """PASCAL-Context's annotation file and photos for `pictures` {name: (phase, (height, width))}, numbered from 0."""
    (root / FOLDER / "JPEGImages").mkdir(parents=True)
    images = []
    for number, (name, (phase, (height, width))) in enumerate(pictures.items()):
        images.append(
            {"image_id": number, "file_name": f"{name}.jpg", "height": height, "width": width, "phase": phase}
        )
        Image.new("RGB", (width, height)).save(root / FOLDER / "JPEGImages" / f"{name}.jpg")
    (root / FILE).write_text(json.dumps({"images": images, "annos_segmentation": regions, "parts": []}))
