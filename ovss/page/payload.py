"""What goes to the browser: pictures, labels and scores as data URLs, with the names and numbers beside them.

Everything is JSON; names are text, which page.js never writes as HTML. Imports numpy and Pillow.
K classes, H W pixels shown, h w of maps.
"""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from ovss.heat import HEAT, heat, heat_row
from ovss.page.systems import Run, System
from ovss.palette import palette
from ovss.segmentation import Segmentation
from ovss.visualize import UNTINTED, resize_labels
from ovss.vocabulary import BACKGROUND

MAX_SHOWN = 1000  # pixels, the long side of what the browser gets
LOSSLESS = 300  # up to this long side pictures are PNG: JPEG would smear the few pixels that they have
TILE = 512  # long side of a picture under a map
STEPS = 2**16 - 1  # of a score, two bytes of a pixel

Message = dict[str, Any]


def run_message(systems: tuple[System, System], run: Run, found: dict[str, Segmentation]) -> Message:
    """The picture, and of each system labels, scores and areas."""
    height, width = run.picture.pixels.shape[:2]
    size = _size_within(width, height, MAX_SHOWN)
    return {
        "kind": "run",
        "run": run.number,
        "picture": picture_url(run.picture.pixels, MAX_SHOWN),
        "size": [width, height],
        "classes": list(run.classes),
        "colours": class_colours(run.classes),
        "background": run.classes.index(BACKGROUND) if BACKGROUND in run.classes else -1,
        "grid": list(run.grid),
        "heat": [_hex(colour) for colour in HEAT],
        "systems": [
            {
                "key": system.key,
                "title": system.title,
                "model": system.name,
                "seconds": run.seconds[system.key],
                "areas": list(found[system.key].areas().values()),
                "data": data_of(found[system.key].scores, found[system.key].labels, size),
            }
            for system in systems
        ],
    }


def scores_message(systems: tuple[System, System], run: Run, scores: dict[str, np.ndarray], index: int) -> Message:
    """The score maps of class `index`, drawn and as data, on a scale from a system's lowest to its highest score."""
    photo = _photo(run.picture.pixels)
    maps = {}
    for system in systems:
        values = scores[system.key].astype(np.float32)
        low, high = float(values.min()), float(values.max())
        drawn = heat(photo, values[index] - low, high - low)
        maps[system.key] = {"picture": _jpeg(drawn), "low": low, "high": high, "data": data_of(values[index])}
    return {"kind": "scores", "run": run.number, "index": index, "maps": maps}


def patch_message(run: Run, place: tuple[float, float], maps: Any) -> Message:
    """What the patch at `place` (x, y), fractions of the picture, attends to, and what the class token does."""
    photo = _photo(run.picture.pixels)
    places = [(place[0] * photo.width, place[1] * photo.height)]
    drawn = [heat_row(photo, each.float().cpu().numpy(), places)[0] for each in (maps.before, maps.after)]
    drawn.append(heat(photo, maps.class_attention.float().cpu().numpy()))
    return {
        "kind": "patch",
        "run": run.number,
        "place": list(place),
        "pictures": dict(zip(("before", "after", "token"), map(_jpeg, drawn), strict=True)),
        "overlaps": [maps.overlap_before, maps.overlap_after],
    }


def class_colours(classes: tuple[str, ...]) -> list[str]:
    """The colours of an overlay, "#rrggbb"."""
    return [
        _hex(UNTINTED if name == BACKGROUND else colour)
        for name, colour in zip(classes, palette(len(classes)).tolist(), strict=True)
    ]


def data_of(scores: np.ndarray, labels: np.ndarray | None = None, size: tuple[int, int] | None = None) -> Message:
    """Scores (H,W), and labels (H,W) below 256, as one PNG: red the label, green and blue the score, from low to high.

    Args:
        size: (width, height) of the PNG, by the nearest pixel; default: that of the scores.
    """
    size = size or (scores.shape[1], scores.shape[0])
    scores = resize_labels(scores, size).astype(np.float64)
    low, high = float(scores.min()), float(scores.max())
    levels = np.round((scores - low) / max(high - low, 1e-12) * STEPS).astype(np.uint32)
    pixels = np.zeros((*scores.shape, 3), np.uint8)
    if labels is not None:
        pixels[..., 0] = resize_labels(labels, size)
    pixels[..., 1], pixels[..., 2] = levels >> 8, levels & 255
    return {"url": _url(Image.fromarray(pixels), "PNG"), "low": low, "high": high}


def picture_url(pixels: np.ndarray, side: int) -> str:
    """A picture (H,W,3) uint8, reduced to at most `side` pixels where it is larger."""
    picture = Image.fromarray(pixels)
    size = _size_within(*picture.size, side)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return _url(picture, "PNG") if max(size) <= LOSSLESS else _jpeg(picture)


def _size_within(width: int, height: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _photo(pixels: np.ndarray) -> Image.Image:
    """The picture at the size of a tile."""
    height, width = pixels.shape[:2]
    scale = TILE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image) -> str:
    return _url(picture, "JPEG", quality=90)


def _url(picture: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _hex(colour: Any) -> str:
    return f"#{bytes(colour).hex()}"
