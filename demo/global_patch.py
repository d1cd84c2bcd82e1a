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

from ovss.bulk.jobs import find_jobs
from ovss.commands.arguments import Parser, add_model, add_pictures, predictor_of
from ovss.files import write_atomic
from ovss.heat import heat, heat_row, mark
from ovss.images import ImageError, read_image
from ovss.visualize import INK, PAPER, contact_sheet

if TYPE_CHECKING:
    from cliptrase.global_patch import GlobalPatchMaps

Point = tuple[int, int]  # (x, y), pixels of the picture

MAX_POINTS = 8  # more columns cannot be read on a screen
TILE = 320  # height of one picture of the sheet, in pixels


def main(argv: Sequence[str] | None = None) -> int:
    """Draw every input; the exit code is 0 for success, 1 where a picture could not be read, 2 for bad usage."""
    try:
        return draw_all(parse_arguments(argv))
    except (ValueError, OSError) as error:  # users' mistakes: config, points, weights, files
        print(f"ovss: error: {error}", file=sys.stderr)
        return 2


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description="Draw what patches of CLIP look at, before and after CLIPtrase's recalibration.")
    add_model(parser)
    add_pictures(parser, "NAME_global_patch.jpg goes")
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
    """Draw a sheet for every input, as `ovss.bulk.run.segment` does its own work."""
    jobs = [job for job in find_jobs(args.input) if not job.is_video]
    if not jobs:
        raise ValueError(f"--input {' '.join(args.input)}: films alone, expected pictures")

    from cliptrase.global_patch import look, spread_points

    args.opts += ["TEST.AUG.ENABLED", "False"]  # maps are of the picture as it is
    predictor = predictor_of(args)
    output = Path(args.output)
    broken = 0
    for path, stem, _ in jobs:
        try:
            image = read_image(path)
            points = args.points or [(x, y) for y, x in spread_points(*image.shape[:2])]
            sheet = draw_sheet(image, points, look(predictor, image, points, str(path)))
        except ImageError as error:
            broken += 1
            print(f"ovss: skipped: {path}: {str(error).removeprefix(f'{path}: ')}", file=sys.stderr)
            continue
        output.mkdir(parents=True, exist_ok=True)
        target = output / f"{stem}_global_patch.jpg"
        write_atomic(target, partial(sheet.save, format="JPEG", quality=92, subsampling=0))
        print(target)
    return 1 if broken else 0


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
    before, after = (heat_row(photo, each.cpu().numpy(), places) for each in (maps.before, maps.after))
    tiles = [marked, *before, class_tile, *after]
    titles = ["query patches", *(f"{number}: CLIP's attention" for number in range(1, len(points) + 1))]
    titles += ["class token's attention", *(f"{number}: recalibrated" for number in range(1, len(points) + 1))]
    return with_footer(contact_sheet(tiles, titles, columns=len(points) + 1), maps)


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
