"""The pictures of a report: picture, ground truth, prediction and errors of one example. Imports numpy, Pillow."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ovss.report.examples import Example
from ovss.visualize import overlay

RIGHT, WRONG, UNLABELLED = range(3)
ERROR_COLOURS = np.array([[255, 255, 255], [230, 50, 20], [40, 44, 60]], np.uint8)
MOST_BYTES = 96 * 1024  # of one picture, so that the page stays small whatever the photos are
QUALITIES = (85, 70, 50, 30, 10)


def panels(example: Example, names: Sequence[str], colours: np.ndarray, ignore_label: int) -> dict[str, Image.Image]:
    """Four pictures of one size, by caption. Regions have the colours (K,3) of their classes.

    Among the errors wrong pixels are red, those without a label dark, and right ones show the picture in light grey.
    """
    truth = overlay(example.image, example.target, names, legend=False, background=ignore_label, colours=colours)
    answer = overlay(example.image, example.prediction, names, legend=False, colours=colours)
    grey = np.asarray(Image.fromarray(example.image).convert("L").convert("RGB"))
    light = 255 - (255 - grey) // 2  # so that the dark of missing labels is no part of a dark photo
    wrong = overlay(light, errors(example, ignore_label), ("",) * 3, 0.75, False, RIGHT, ERROR_COLOURS)
    picture = Image.fromarray(example.image).resize(truth.size, Image.Resampling.LANCZOS)
    return {"Picture": picture, "Ground truth": truth, "Prediction": answer, "Errors": wrong}


def errors(example: Example, ignore_label: int) -> np.ndarray:
    """(H,W): RIGHT, WRONG or UNLABELLED."""
    wrong = np.where(example.prediction == example.target, RIGHT, WRONG)
    return np.where(example.target == ignore_label, UNLABELLED, wrong)


def contents(example: Example, classes: int, ignore_label: int) -> list[tuple[int, float, float]]:
    """(class, share in the ground truth, share in the prediction) in percent of the picture, the largest first."""
    true, given = (
        100 * np.bincount(labels, minlength=classes) / example.target.size
        for labels in (example.target[example.target != ignore_label], example.prediction.ravel())
    )
    larger = np.maximum(true, given)
    order = np.argsort(-larger, kind="stable")
    return [(int(index), float(true[index]), float(given[index])) for index in order if larger[index] > 0]


def jpeg(picture: Image.Image) -> bytes:
    """The picture as JPEG of at most about MOST_BYTES, at the best quality that fits."""
    for quality in QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()
