"""A colour for every class. Imports Pillow and numpy only."""

import functools

import numpy as np
from PIL import ImageColor

FIRST_COLOURS = ("#2f7de1", "#ff8c1a", "#2ca25f", "#e0218a", "#ffd92f", "#7b3fc8", "#22c7d6", "#d7263d", "#9bd53b")
DISTINCT_COLOURS = 1024


def palette(n: int) -> np.ndarray:
    """Colours of classes 0..n-1, (n, 3) uint8: class k has the same colour for every n, the first 1024 all differ."""
    return _colours()[np.arange(n) % DISTINCT_COLOURS]


@functools.lru_cache(maxsize=1)
def _colours() -> np.ndarray:
    """Some chosen colours, then always the vivid one that is farthest from all before it."""
    steps = np.linspace(0, 255, 16)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[(np.ptp(grid, axis=1) >= 80) & (grid.max(axis=1) >= 110)]
    chosen = [np.array(ImageColor.getrgb(code), dtype=float) for code in FIRST_COLOURS]
    nearest = np.min([_distance(grid, colour) for colour in chosen], axis=0)
    while len(chosen) < DISTINCT_COLOURS:
        chosen.append(grid[nearest.argmax()])
        nearest = np.minimum(nearest, _distance(grid, chosen[-1]))
    return np.array(chosen).round().astype(np.uint8)


def _distance(colours: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Squared RGB distance with weights near those of the eye, which depend on the mean red ("redmean")."""
    red = (colours[:, 0] + colour[0]) / 512
    squares = (colours - colour) ** 2
    return (2 + red) * squares[:, 0] + 4 * squares[:, 1] + (3 - red) * squares[:, 2]
