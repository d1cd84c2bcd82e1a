"""Draws the grounds and the shapes of `ovss/scenes.py`. Imports numpy and opencv.

Integers only, from the random draw to the pixel: the same seed gives the same bits on every platform.
Shape legend: S side of the square canvas in pixels. A canvas is (S,S,3) int16 RGB, a mask (S,S) bool.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

# Outlines in a circle of radius about 1000; one outline inside another is a hole.
_UNIT = 1000
_TURN = 360


def _ray(degrees: float, radius: float) -> tuple[int, int]:
    angle = np.deg2rad(degrees)
    return round(radius * float(np.sin(angle))), round(-radius * float(np.cos(angle)))


def _regular(corners: int, radius: int = _UNIT, inner: int | None = None) -> np.ndarray:
    """Return the corners (C,2) of a regular polygon, one up; of a star, if `inner` is the radius of its notches."""
    radii = (radius,) if inner is None else (radius, inner)
    steps = corners * len(radii)
    return np.array([_ray(i * _TURN / steps, radii[i % len(radii)]) for i in range(steps)], np.int64)


def _box(half: int) -> np.ndarray:
    return np.array([(-half, -half), (half, -half), (half, half), (-half, half)], np.int64)


def _plus(arm: int) -> np.ndarray:
    """Return the corners (12,2) of a cross with arms of width 2 * `arm`."""
    quarter = [(-arm, -_UNIT), (arm, -_UNIT), (arm, -arm)]
    turns = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
    return np.array([(a * x + b * y, c * x + d * y) for a, b, c, d in turns for x, y in quarter], np.int64)


_OUTLINES = {
    "circle": (_regular(48),),
    "square": (_box(800),),
    "triangle": (_regular(3, radius=1250),),
    "star": (_regular(5, radius=1250, inner=500),),
    "cross": (_plus(arm=330),),
    "ring": (_regular(48, radius=1050), _regular(48, radius=560)),
}
SHAPES = tuple(_OUTLINES)

# A table of rounded sines: the last bit of a platform's sine must not move a corner.
_SINE_BITS = 14
_SINE = np.array([round(2**_SINE_BITS * float(np.sin(np.deg2rad(d)))) for d in range(_TURN)], np.int64)

# Every kind has its own pattern of darker pixels: as with real things, a part tells what the whole is.
_PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: np.zeros(x.shape, bool),
    "square": lambda x, y: (x % 8 < 4) ^ (y % 8 < 4),
    "triangle": lambda x, y: y % 6 < 2,
    "star": lambda x, y: (x % 6 < 3) & (y % 6 < 3),
    "cross": lambda x, y: (x + y) % 8 < 3,
    "ring": lambda x, y: x % 6 < 2,
}

# RGB. The colours keep 50 degrees of hue between them; jitter and light leave the order of the channels as it is.
_COLOURS = {
    "red": (215, 35, 35),
    "yellow": (225, 210, 30),
    "green": (30, 190, 50),
    "cyan": (35, 205, 215),
    "blue": (40, 60, 220),
    "purple": (165, 40, 205),
}
COLOURS = tuple(_COLOURS)


def shape_mask(shape: str, side: int, center: tuple[int, int], radius: int, degrees: int) -> np.ndarray:
    """Return the mask (S,S) of a shape; `center` (x, y) and `radius` in pixels, turned clockwise by whole `degrees`."""
    sine, cosine = int(_SINE[degrees % _TURN]), int(_SINE[(degrees + 90) % _TURN])
    rotation = np.array([[cosine, sine], [-sine, cosine]], np.int64)
    scale = _UNIT << _SINE_BITS
    outlines = [(outline @ rotation * radius + scale // 2) // scale + center for outline in _OUTLINES[shape]]
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32) for outline in outlines], 1)  # even-odd: inner outlines are holes
    return mask.view(bool)


def paint(canvas: np.ndarray, mask: np.ndarray, shape: str, colour: str, rng: Generator) -> None:
    """Fill `mask` on `canvas` with a jittered colour under its own slant of light and its kind's pattern, in place."""
    tone = np.array(_COLOURS[colour], np.int16) + rng.integers(-16, 17, 3, dtype=np.int16)
    slant_x, slant_y = (int(v) for v in rng.integers(-2, 3, 2))
    ys, xs = np.nonzero(mask)
    x, y = xs - int(xs.mean()), ys - int(ys.mean())
    light = (slant_x * x + slant_y * y) // 4
    dark = _PATTERNS[shape](x + int(rng.integers(8)), y + int(rng.integers(8)))
    canvas[ys, xs] = (tone + light[:, None]) * np.where(dark, 5, 8)[:, None] // 8


def _bricks(side: int, rng: Generator) -> np.ndarray:
    height, width = (int(v) for v in rng.integers((10, 22), (15, 31)))
    down, right = (int(v) for v in rng.integers(0, (height, width)))
    rows, within_row = np.divmod(np.arange(side) + down, height)
    along = np.arange(side)[None] + right + (rows % 2 * (width // 2))[:, None]
    columns, within_brick = np.divmod(along, width)
    tones = rng.integers(-22, 23, (rows[-1] + 1, columns.max() + 1), dtype=np.int16)
    canvas = np.array((150, 88, 70), np.int16) + tones[rows[:, None], columns][..., None]
    mortar = (within_row < 2)[:, None] | (within_brick < 2)
    canvas[mortar] = (178, 170, 160)
    return canvas


def _grass(side: int, rng: Generator) -> np.ndarray:
    blade = 9
    tones = rng.integers(-40, 41, (side // blade + 2, side), dtype=np.int16)
    starts = rng.integers(0, blade, side)
    blades = tones[(np.arange(side)[:, None] + starts) // blade, np.arange(side)]
    return np.array((72, 112, 48), np.int16) + blades[..., None] * np.array((3, 4, 2), np.int16) // 4


def _sand(side: int, rng: Generator) -> np.ndarray:
    grains = rng.integers(-26, 27, (side, side), dtype=np.int16)
    dunes = rng.integers(-14, 15, (side // 16 + 1, side // 16 + 1), dtype=np.int16)
    dunes = dunes.repeat(16, axis=0).repeat(16, axis=1)[:side, :side]
    return np.array((203, 180, 134), np.int16) + (grains + dunes)[..., None]


def _water(side: int, rng: Generator) -> np.ndarray:
    length, swell = (int(v) for v in rng.integers((9, 24), (14, 41)))
    start = int(rng.integers(0, 256))
    bend = np.abs((np.arange(side) + start) % swell - swell // 2) // 3
    crest = np.abs((np.arange(side)[:, None] + bend + start) % length * 2 - length)
    waves = (crest * 70 // length - 30).astype(np.int16)
    return np.array((62, 112, 158), np.int16) + waves[..., None] * np.array((3, 4, 4), np.int16) // 4


_GROUNDS = {"brick wall": _bricks, "grass": _grass, "sand": _sand, "water": _water}
GROUNDS = tuple(_GROUNDS)


def draw_ground(ground: str, side: int, rng: Generator) -> np.ndarray:
    """Return a canvas (S,S,3) covered with a ground, its tint jittered."""
    return _GROUNDS[ground](side, rng) + rng.integers(-14, 15, 3, dtype=np.int16)


def develop(canvas: np.ndarray, rng: Generator) -> np.ndarray:
    """Light a canvas from one side, soften its edges, add noise. Return the image (S,S,3) uint8."""
    side = len(canvas)
    slant_x, slant_y = (int(v) for v in rng.integers(-60, 61, 2))
    ramp = np.arange(side, dtype=np.int32) * 2 - side
    light = 256 + int(rng.integers(-30, 31)) + (slant_x * ramp + slant_y * ramp[:, None]) // (2 * side)
    lit = (canvas.clip(0, 255) * light[..., None] >> 8).clip(0, 255).astype(np.uint8)
    noise = rng.integers(-12, 13, lit.shape, dtype=np.int16)
    return (cv2.GaussianBlur(lit, (3, 3), 0) + noise).clip(0, 255).astype(np.uint8)
