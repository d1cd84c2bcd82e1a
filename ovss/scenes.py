"""The embedded data set: drawn scenes with exact labels and captions, for a project that runs offline.

A scene is one to three coloured shapes, later over earlier, on a textured ground. The 40 classes are 36 pairs
("red star") and 4 grounds ("brick wall"). Scene i of a split is a function of (split, i) alone.
Imports numpy and opencv.
"""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from ovss.drawing import COLOURS, GROUNDS, SHAPES, develop, draw_ground, paint, shape_mask

SIDE = 128
ALL = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
UNSEEN = (
    "red star",
    "yellow cross",
    "green ring",
    "cyan triangle",
    "blue square",
    "purple circle",
    "green star",
    "purple cross",
)
SEEN = tuple(pair for pair in ALL if pair not in UNSEEN)


def classes_of(pairs: tuple[str, ...]) -> tuple[str, ...]:
    """The classes of scenes drawn from these pairs: the pairs, then the grounds."""
    return (*pairs, *GROUNDS)


CLASSES = classes_of(ALL)

# The ground of every sentence; the objects come as "a red star and a blue ring" or "a red star, a blue ring".
SENTENCES = (
    "{objects} on {ground}",
    "{objects} in front of {ground}",
    "{ground} with {objects}",
    "a photo of {objects} on {ground}.",
    "a photo of {ground} with {objects}.",
    "There is {objects} on {ground}.",
    "{objects} and {ground} in the background",
    "{ground} behind {objects}",
    "{objects}, {ground}",
    "a picture of {ground}, {objects}",
    "This is {objects} on {ground}",
    "{ground} in the scene, and {objects}",
)
# Radius in pixels and tilt in degrees of the objects; least share of each that stays in sight.
SMALLEST, LARGEST, TILT = 16, 32, 20
_IN_SIGHT = 0.6


@dataclass(frozen=True)
class Scene:
    """`image` (S,S,3) uint8; `labels` (S,S) uint8, indices into `classes_of(pairs)`; `names`: in sight, ground last."""

    image: np.ndarray
    labels: np.ndarray
    caption: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """`stream` keeps the seeds of the splits apart; `count` is the default number of scenes."""

    stream: int
    count: int
    pairs: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return classes_of(self.pairs)


SPLITS = {
    "train_seen": Split(stream=1, count=2000, pairs=SEEN),
    "val": Split(stream=2, count=200, pairs=ALL),
}
CAPTIONS_STREAM = 3  # the scenes that the tiny CLIP reads, drawn on the fly
HELD_OUT_STREAM = 4  # those that measure what it has read


def draw_scene(
    seed: int | tuple[int, ...],
    pairs: tuple[str, ...] = ALL,
    *,
    side: int = SIDE,
    max_objects: int = 3,
) -> Scene:
    """Draw a scene of 1 to `max_objects` different `pairs` on a ground, `side` pixels wide and high.

    At least 60 % of every object stays in sight, and the caption names all of them. The sizes of objects are those of a
    full picture, a radius of 16 to 32 px, whatever the `side` (but at most 3/8 of it).

    Raises:
        ValueError: no pair, or one that is not in ALL.
    """
    unknown = sorted(set(pairs) - set(ALL))
    if unknown or not pairs:
        raise ValueError(f"cannot draw {unknown or 'a scene without pairs'}; known pairs: {', '.join(ALL)}")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    ground = GROUNDS[rng.integers(len(GROUNDS))]
    canvas = draw_ground(ground, side, rng)
    classes = classes_of(pairs)
    labels = np.full((side, side), classes.index(ground), np.uint8)
    wanted = int(rng.integers(1, max_objects + 1))
    chosen = [pairs[i] for i in rng.choice(len(pairs), min(wanted, len(pairs)), replace=False)]
    drawn: list[str] = []
    sizes: dict[int, int] = {}
    for pair in chosen:
        colour, shape = pair.split()
        mask = _place(shape, labels, sizes, rng)
        if mask is None:
            continue
        paint(canvas, mask, shape, colour, rng)
        labels[mask] = classes.index(pair)
        sizes[classes.index(pair)] = int(mask.sum())
        drawn.append(pair)
    names = (*drawn, ground)
    return Scene(develop(canvas, rng), labels, describe(names, rng), names)


def _place(shape: str, labels: np.ndarray, sizes: dict[int, int], rng: Generator) -> np.ndarray | None:
    """Return a mask for `shape` that leaves every earlier object in sight, or None after some tries."""
    side = len(labels)
    for _ in range(8):
        radius = int(rng.integers(SMALLEST, min(LARGEST, side * 3 // 8) + 1))
        x, y = (int(v) for v in rng.integers(radius * 3 // 4, side - radius * 3 // 4, 2))
        mask = shape_mask(shape, side, (x, y), radius, int(rng.integers(-TILT, TILT + 1)))
        counts = np.bincount(labels[~mask], minlength=len(CLASSES))
        if all(counts[index] >= _IN_SIGHT * size for index, size in sizes.items()):
            return mask
    return None


def describe(names: tuple[str, ...], rng: Generator) -> str:
    """Return a caption of the objects `names[:-1]` and the ground `names[-1]`, in a random form and order."""
    articles = (("a ", "the "), ("the ", "the "), ("", ""))[rng.integers(3)]
    objects = [articles[0] + names[i] for i in rng.permutation(len(names) - 1)]
    joint = (" and ", ", ")[rng.integers(2)]
    sentence = SENTENCES[rng.integers(len(SENTENCES))]
    return sentence.format(objects=joint.join(objects), ground=articles[1] + names[-1])


def split_scene(split: str, index: int) -> Scene:
    """Return scene `index` of a split, a function of (split, index) alone."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of the drawn scenes; known: {', '.join(SPLITS)}")
    return draw_scene((SPLITS[split].stream, index), SPLITS[split].pairs)


def write_split(root: str | Path, split: str, count: int | None = None) -> Path:
    """Write `images/000000.png`, `labels/000000.png`, ... and `classes.json`; return their folder, `root/split_count`.

    A folder that exists is complete and stays as it is: files are written beside it and renamed as a whole, so that
    many processes may call this at once.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of the drawn scenes; known: {', '.join(SPLITS)}")
    count = SPLITS[split].count if count is None else count
    folder = Path(root) / f"{split}_{count}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write_scenes(temporary, split, count)
        temporary.chmod(0o755)  # mkdtemp keeps others out
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, with the same files
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write_scenes(folder: Path, split: str, count: int) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for index in range(count):
        scene = split_scene(split, index)
        cv2.imwrite(str(folder / "images" / f"{index:06d}.png"), scene.image[..., ::-1])
        cv2.imwrite(str(folder / "labels" / f"{index:06d}.png"), scene.labels)
    classes = json.dumps({"classes": list(SPLITS[split].classes)}, indent=1)
    (folder / "classes.json").write_text(f"{classes}\n", encoding="utf-8")
