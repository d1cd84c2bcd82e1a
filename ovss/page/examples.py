"""Pictures to try: drawn scenes, which every model can show offline, and the photos of demo/ where they are there."""

from dataclasses import dataclass
from pathlib import Path

from ovss.images import read_image
from ovss.page.intake import Picture
from ovss.scenes import COLOURS, GROUNDS, SHAPES, split_scene

SCENES = (63, 59, 2, 87)  # of the validation split, one for each ground
MORE_WORDS = ("red star", "blue circle", "green ring", *GROUNDS)
PHOTOS = Path(__file__).parents[2] / "demo/images"  # beside the package in a checkout, not in a wheel
PHOTO_WORDS = {
    "astronaut.jpg": "astronaut, flag, space shuttle, helmet, wall",
    "chelsea.jpg": "cat, cloth, wall",
    "coffee.jpg": "cup, saucer, spoon, table, coffee",
    "rocket.jpg": "rocket, sky, tower, smoke, ground",
}
KNOWN_WORDS = f"a colour ({', '.join(COLOURS)}) and a shape ({', '.join(SHAPES)}), or {', '.join(GROUNDS)}"


@dataclass(frozen=True)
class Example:
    """A picture and words for it, separated by commas."""

    picture: Picture
    words: str


def examples(photos: bool) -> list[Example]:
    """All of them; `photos` for models that know more than drawn scenes."""
    found = [_scene(index) for index in SCENES]
    files = [(PHOTOS / name, words) for name, words in PHOTO_WORDS.items() if photos and (PHOTOS / name).is_file()]
    return [*(Example(Picture(read_image(path), path.name), words) for path, words in files), *found]


def _scene(index: int) -> Example:
    """A scene with its own words first, then some that are not in it."""
    scene = split_scene("val", index)
    words = dict.fromkeys((*scene.names, *MORE_WORDS))
    return Example(Picture(scene.image, f"scene_{index:03d}.png"), ", ".join(words))
