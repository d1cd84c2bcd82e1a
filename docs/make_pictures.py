"""Make the pictures of docs/tutorial.md and docs/own_data.md, from drawn scenes and the embedded models alone.

    python docs/make_pictures.py                  # into docs/images

Imports torch. JPEG at most 200 kB each; the same words and scenes as on the pages.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import ovss
from ovss.files import write_atomic
from ovss.scenes import CLASSES, split_scene
from ovss.segmentation import Segmentation
from ovss.visualize import contact_sheet, label_png, overlay
from ovss.vocabulary import Vocabulary

IMAGES = Path(__file__).parent / "images"
MOST_BYTES, WIDEST = 200_000, 1600  # of a picture: its file, and its sides in pixels
SCENE = 14  # a ring, a star and a square on water
WORDS = ("purple ring", "green star", "purple square", "water")
EXAMPLES = (2, 6, 10)  # of one's own data: all pictures show several classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder; default: docs/images")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    model = ovss.load("quickstart/cat_seg", device="cpu")
    scene = split_scene("val", SCENE).image
    pictures = {
        "tutorial_outputs": outputs(model.segment(scene, WORDS)),
        "tutorial_words": words(model, scene),
        "own_data": own_data(),
    }
    for name, picture in pictures.items():
        path = output / f"{name}.jpg"
        picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        write_atomic(path, partial(picture.save, format="JPEG", quality=88, optimize=True))
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ValueError(f"{path} has {size} bytes, more than {MOST_BYTES}: show less on it")
        print(f"{path}: {picture.width} x {picture.height}, {size} bytes")


def outputs(found: Segmentation) -> Image.Image:
    """A picture and what becomes of it: overlay, label image, score of the winner."""
    scores = np.repeat((255 * found.scores.clip(0, 1)).round().astype(np.uint8)[..., None], 3, axis=2)
    tiles: list[Image.Image | np.ndarray] = [
        found.image,
        found.overlay(),
        label_png(found.labels).convert("RGB"),
        scores,
    ]
    return contact_sheet(tiles, ["picture", "overlay", "labels", "scores, white is 1"])


def words(model: ovss.Predictor, scene: np.ndarray) -> Image.Image:
    """The same picture asked for different words."""
    background = Vocabulary.from_words(WORDS[:3], background=WORDS[3:])
    asked: dict[str, Vocabulary | tuple[str, ...]] = {
        "all four words": WORDS,
        "without 'purple ring'": WORDS[1:],
        "water as background": background,
    }
    return contact_sheet([model.segment(scene, given).overlay() for given in asked.values()], list(asked))


def own_data() -> Image.Image:
    """Pictures, and below each its label image in colours."""
    scenes = [split_scene("val", index) for index in EXAMPLES]
    drawn = [overlay(scene.image, scene.labels, CLASSES, opacity=1) for scene in scenes]
    names = [f"{index:06d}.png" for index in EXAMPLES]
    tiles: list[Image.Image | np.ndarray] = [scene.image for scene in scenes]
    return contact_sheet(
        [*tiles, *drawn], [*(f"images/{name}" for name in names), *(f"labels/{name}" for name in names)], len(EXAMPLES)
    )


if __name__ == "__main__":
    main()
