"""The two systems of the page and what they find in one picture. Imports torch; of the page's framework nothing.

K classes, H W pixels of the picture, h w of maps.
"""

import argparse
import dataclasses
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ovss.hub import global_patch
from ovss.models import load
from ovss.page.intake import Picture
from ovss.predictor import Predictor
from ovss.segmentation import Segmentation
from ovss.vocabulary import Vocabulary

MAP_SIDE = 384  # long side, in pixels, of the score maps of all classes
MAPS_KEPT = 2**29  # bytes of them, of all users together; those of one run are up to a quarter of it
CAT_SEG, CLIPTRASE = "cat_seg", "cliptrase"  # the keys of the systems, which are the names of their packages
TITLES = {CAT_SEG: "CAT-Seg", CLIPTRASE: "CLIPtrase"}
ONE_PASS = ("TEST.AUG.ENABLED", "False")  # maps are of the picture as it is


@dataclass(frozen=True)
class System:
    """A model under its system's key; `name` is what the user asked for."""

    key: str
    name: str
    predictor: Predictor

    @property
    def title(self) -> str:
        return TITLES[self.key]


def load_systems(args: argparse.Namespace) -> tuple[System, System]:
    """CAT-Seg and CLIPtrase of the arguments of `ovss app`. Raises as `ovss.load`, ValueError for a model of the other.

    Returns: them in this order.
    """
    wanted = {CAT_SEG: (args.cat_seg, args.weights), CLIPTRASE: (args.cliptrase, args.clip_weights)}
    systems = []
    for key, (name, weights) in wanted.items():
        predictor = load(name, weights, device=args.device, dtype=args.dtype, opts=ONE_PASS)
        system = type(predictor.segmentor).__module__.partition(".")[0]
        if system != key:
            raise ValueError(
                f"--{key.replace('_', '-')} {name}: a model of {TITLES.get(system, system)}, not {TITLES[key]}"
            )
        systems.append(System(key, name, predictor))
    return systems[0], systems[1]


@dataclass
class Run:
    """A picture, its words, and what is kept of what the systems found.

    `seconds` that each system took; `grid`, rows and columns of CLIPtrase's patches; `archive`, the zip file of the
    result.
    """

    picture: Picture
    vocabulary: Vocabulary
    seconds: dict[str, float]
    grid: tuple[int, int]
    archive: Path | None = None
    number: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.vocabulary.classes


def compare(
    systems: tuple[System, System], picture: Picture, vocabulary: Vocabulary
) -> tuple[Run, dict[str, Segmentation]]:
    """Segment a picture with both. Returns what is kept, and what each found, by its key."""
    found, seconds = {}, {}
    for system in systems:
        start = time.perf_counter()
        result = system.predictor.segment(picture.pixels, vocabulary)
        found[system.key] = dataclasses.replace(result, file=picture.name)
        seconds[system.key] = time.perf_counter() - start
    grid = global_patch().patch_grid(systems[1].predictor, picture.pixels)
    return Run(picture, vocabulary, seconds, grid), found


class ScoreMaps:
    """The scores of every class, kept of as many of the last runs as `limit` bytes hold, and made again for others."""

    def __init__(self, systems: tuple[System, System], limit: int = MAPS_KEPT):
        self.systems, self.limit = systems, limit
        self.kept: dict[str, dict[str, np.ndarray]] = {}  # by the runs' numbers; the last that was asked for is last

    def __call__(self, run: Run) -> dict[str, np.ndarray]:
        """By key the scores (K,h,w) float16, in the picture's shape, `MAP_SIDE` a side at most."""
        maps = self.kept.pop(run.number, None) or self._made(run)
        self.kept[run.number] = maps
        while len(self.kept) > 1 and self.size > self.limit:
            del self.kept[next(iter(self.kept))]
        return maps

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return sum(scores.nbytes for maps in self.kept.values() for scores in maps.values())

    def _made(self, run: Run) -> dict[str, np.ndarray]:
        height, width = run.picture.pixels.shape[:2]
        scale = min(1.0, MAP_SIDE / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        maps = {}
        for system in self.systems:
            scores = system.predictor.logits(run.picture.pixels, run.vocabulary, size)
            maps[system.key] = scores.float().cpu().numpy().astype(np.float16)
        return maps


def patch_maps(systems: tuple[System, System], run: Run, place: tuple[float, float]) -> Any:
    """`cliptrase.global_patch.GlobalPatchMaps` of the patch at `place` (x, y), fractions of the picture from 0 to 1."""
    height, width = run.picture.pixels.shape[:2]
    point = min(int(place[0] * width), width - 1), min(int(place[1] * height), height - 1)
    return global_patch().look(systems[1].predictor, run.picture.pixels, [point])
