"""Draw the finding behind CLIPtrase for any photo: what a few patches of CLIP look at, before and after recalibration.

    python demo/global_patch.py --config-file configs/cliptrase/vitb16_336.yaml --input photo.jpg --output out/

Writes `<stem>_global_patch.jpg` for each picture; `cliptrase/global_patch.py` says what it shows. Arguments, messages
and exit codes are as in `ovss segment`. Imports torch only once the arguments are known to be right.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ovss.cli import Parser, add_picture_arguments, config_opts
from ovss.files import write_atomic
from ovss.images import ImageError, find_images, read_image
from ovss.segment import unique_stems
from ovss.visualize import INK, PAPER, contact_sheet

if TYPE_CHECKING:
    from torch import Tensor

    from cliptrase.global_patch import GlobalPatchMaps
    from ovss.predictor import Predictor

Point = tuple[int, int]  # (x, y), pixels of the picture

MAX_POINTS = 8  # more columns cannot be read on a screen
TILE = 320  # height of one picture of the sheet, in pixels
# Dark to bright at even steps of lightness, so that equal differences look equal; RGB.
HEAT = ((0, 0, 0), (56, 16, 92), (138, 30, 108), (212, 60, 72), (244, 124, 34), (252, 200, 60), (254, 250, 190))


def main(argv: Sequence[str] | None = None) -> int:
    """Draw every input; the exit code is 0 for success, 1 where a picture could not be read, 2 for bad usage."""
    try:
        return draw_all(parse_arguments(argv))
    except (ValueError, OSError) as error:  # users' mistakes: config, points, weights, files
        print(f"ovss: error: {error}", file=sys.stderr)
        return 2


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description="Draw what patches of CLIP look at, before and after CLIPtrase's recalibration.")
    add_picture_arguments(parser, "NAME_global_patch.jpg goes")
    help = "query points in pixels; default: five spread out"
    parser.add_argument("--points", metavar="'X,Y X,Y'", type=parse_points, help=help)
    return parser.parse_args(argv)


def parse_points(text: str) -> list[Point]:
    """Read "x,y x,y"; raises argparse's error for anything else."""
    try:
        points = [(int(x), int(y)) for x, y in (pair.split(",") for pair in text.split())]
    except ValueError:
        points = []
    if not 1 <= len(points) <= MAX_POINTS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_POINTS} points such as '120,80 300,200', not {text!r}")
    return points


def draw_all(args: argparse.Namespace) -> int:
    """Draw a sheet for every input, as `ovss.segment.segment` does its own work."""
    paths = find_images(args.input)

    from cliptrase.global_patch import spread_points
    from ovss.hub import build_predictor

    one_pass = ["TEST.AUG.ENABLED", "False"]  # maps are of the picture as it is
    predictor = build_predictor(args.config_file, [*config_opts(args), *one_pass], device=args.device)
    output = Path(args.output)
    broken = 0
    for path, stem in zip(paths, unique_stems(paths), strict=True):
        try:
            image = read_image(path)
        except ImageError as error:
            broken += 1
            print(f"ovss: skipped: {error}", file=sys.stderr)
            continue
        points = args.points or [(x, y) for y, x in spread_points(*image.shape[:2])]
        sheet = draw_sheet(image, points, look(predictor, image, points, path))
        output.mkdir(parents=True, exist_ok=True)
        target = output / f"{stem}_global_patch.jpg"
        write_atomic(target, partial(sheet.save, format="JPEG", quality=92, subsampling=0))
        print(target)
    return 1 if broken else 0


def look(predictor: "Predictor", image: np.ndarray, points: Sequence[Point], path: Path) -> "GlobalPatchMaps":
    """Run the config's CLIP on a picture (H,W,3) uint8.

    Raises:
        ValueError: a point outside the picture, or a config of another system.
    """
    import torch

    from cliptrase.global_patch import global_patch_maps, patch_at
    from cliptrase.model import CLIPtrase
    from ovss.inference import fit

    model = getattr(predictor.segmentor, "model", None)
    if not isinstance(model, CLIPtrase):
        name = type(predictor.segmentor).__name__
        raise ValueError(f"the config builds a {name}, but this picture is of CLIPtrase: take one of configs/cliptrase")
    height, width = image.shape[:2]
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"point {x},{y} is outside {path}, which is {width} x {height} pixels (x, y from 0)")
    mean = model.pixel_mean
    resized = torch.from_numpy(np.ascontiguousarray(predictor.transform(image).transpose(2, 0, 1)))
    pixels = resized.to(mean.device).float() / 255
    # Stretched, never padded: the maps must lie where the picture does.
    pixels = fit(pixels, model.size_divisibility, "resize", mean)
    grid = (pixels.shape[1] // model.size_divisibility, pixels.shape[2] // model.size_divisibility)
    return global_patch_maps(model, pixels[None], [patch_at((y, x), (height, width), grid) for x, y in points])


def draw_sheet(image: np.ndarray, points: Sequence[Point], maps: "GlobalPatchMaps") -> Image.Image:
    """Photo and maps before in one row, the class token's map and the maps after in the next, the overlap below.

    `image` (H,W,3) uint8; a map before and a map after for each of the `points`.
    """
    height, width = image.shape[:2]
    size = (int(np.clip(round(TILE * width / height), TILE // 4, TILE * 4)), TILE)  # extreme shapes are not kept
    photo = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    places = [((x + 0.5) * size[0] / width, (y + 0.5) * size[1] / height) for x, y in points]
    marked = photo.copy()
    for number, place in enumerate(places, start=1):
        mark(marked, place, str(number))
    class_tile = heat(photo, maps.class_attention.cpu().numpy())
    tiles = [marked, *heat_row(photo, maps.before, places), class_tile, *heat_row(photo, maps.after, places)]
    titles = ["query patches", *(f"{number}: CLIP's attention" for number in range(1, len(points) + 1))]
    titles += ["class token's attention", *(f"{number}: recalibrated" for number in range(1, len(points) + 1))]
    return with_footer(contact_sheet(tiles, titles, columns=len(points) + 1), maps)


def heat_row(photo: Image.Image, maps: "Tensor", places: Sequence[tuple[float, float]]) -> list[Image.Image]:
    """Draw the maps (Q,h,w) of Q query points, each with its point."""
    tiles = [heat(photo, values) for values in maps.cpu().numpy()]
    for tile, place in zip(tiles, places, strict=True):
        mark(tile, place)
    return tiles


def heat(photo: Image.Image, values: np.ndarray) -> Image.Image:
    """Lay a map (h,w), divided by its own maximum and smoothly enlarged, over the dimmed grey photo."""
    peak = max(float(values.max()), np.finfo(np.float32).tiny)
    enlarged = Image.fromarray((values / peak).astype(np.float32)).resize(photo.size, Image.Resampling.BICUBIC)
    level = np.asarray(enlarged).clip(0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(level, steps, channel) for channel in zip(*HEAT, strict=True)], axis=-1)
    # Added, not mixed: a mixture would be darker at low values than at none.
    dimmed = np.asarray(photo.convert("L"), dtype=np.float32) * 0.4 * (1 - level)
    return Image.fromarray((colour + dimmed[..., None]).clip(0, 255).round().astype(np.uint8))


def mark(picture: Image.Image, place: tuple[float, float], number: str = "") -> None:
    """Draw a query point: a numbered disc, or a ring that leaves what is below it in sight."""
    draw = ImageDraw.Draw(picture)
    radius = TILE / 24 if number else TILE / 40
    for size, colour, line in ((radius + 1.5, INK, 4), (radius, PAPER, 2)):
        box = (place[0] - size, place[1] - size, place[0] + size, place[1] + size)
        draw.ellipse(box, fill=INK if number else None, outline=colour, width=line)
    draw.text(place, number, PAPER, ImageFont.load_default(TILE // 18), anchor="mm")


def with_footer(sheet: Image.Image, maps: "GlobalPatchMaps") -> Image.Image:
    """Add the numbers below the pictures."""
    font = ImageFont.load_default(TILE // 18)
    gap = TILE // 20
    text = (
        "Overlap of what two patches look at most (top 5 %), mean of all pairs; 0.03 by chance, 1 if all are alike:\n"
        f"{maps.overlap_before:.2f} in CLIP's attention, {maps.overlap_after:.2f} recalibrated"
    )
    box = ImageDraw.Draw(sheet).multiline_textbbox((0, 0), text, font, spacing=gap // 2)
    canvas = Image.new("RGB", (max(sheet.width, round(box[2]) + 2 * gap), sheet.height + round(box[3]) + gap), PAPER)
    canvas.paste(sheet)
    ImageDraw.Draw(canvas).multiline_text((gap, sheet.height), text, INK, font, spacing=gap // 2)
    return canvas


if __name__ == "__main__":
    sys.exit(main())
