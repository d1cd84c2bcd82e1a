"""Maps over a photo: what a patch attends to, where a class scores. Imports Pillow and numpy only.

Q maps of h w values, drawn over a photo of any other size.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ovss.visualize import INK, PAPER

# Dark to bright at even steps of lightness, so that equal differences look equal; RGB.
HEAT = ((0, 0, 0), (56, 16, 92), (138, 30, 108), (212, 60, 72), (244, 124, 34), (252, 200, 60), (254, 250, 190))

Place = tuple[float, float]  # (x, y), pixels of the photo


def heat(photo: Image.Image, values: np.ndarray, peak: float | None = None) -> Image.Image:
    """Lay a map (h,w) from 0 on, smoothly enlarged, over the dimmed grey photo.

    Args:
        peak: the value that is brightest; default: the map's own maximum.
    """
    peak = max(float(values.max()) if peak is None else peak, float(np.finfo(np.float32).tiny))
    enlarged = Image.fromarray((values / peak).astype(np.float32)).resize(photo.size, Image.Resampling.BICUBIC)
    level = np.asarray(enlarged).clip(0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(level, steps, channel) for channel in zip(*HEAT, strict=True)], axis=-1)
    # Added, not mixed: a mixture would be darker at low values than at none.
    dimmed = np.asarray(photo.convert("L"), dtype=np.float32) * 0.4 * (1 - level)
    return Image.fromarray((colour + dimmed[..., None]).clip(0, 255).round().astype(np.uint8))


def heat_row(photo: Image.Image, maps: np.ndarray, places: Sequence[Place]) -> list[Image.Image]:
    """Draw the maps (Q,h,w) of Q query points, each with its point."""
    tiles = [heat(photo, values) for values in maps]
    for tile, place in zip(tiles, places, strict=True):
        mark(tile, place)
    return tiles


def mark(picture: Image.Image, place: Place, number: str = "") -> None:
    """Draw a query point: a numbered disc, or a ring that leaves what is below it in sight."""
    draw = ImageDraw.Draw(picture)
    radius = picture.height / 24 if number else picture.height / 40
    for size, colour, line in ((radius + 1.5, INK, 4), (radius, PAPER, 2)):
        box = (place[0] - size, place[1] - size, place[0] + size, place[1] + size)
        draw.ellipse(box, fill=INK if number else None, outline=colour, width=line)
    draw.text(place, number, PAPER, ImageFont.load_default(picture.height // 18), anchor="mm")
