"""Pictures from disk: every kind of picture becomes plain RGB.

Pictures come from strangers: only formats that Pillow decodes by itself are opened, sizes are bounded, and whatever
goes wrong is one `ImageError` that names the file. Imports Pillow and numpy only.
"""

import glob
import io
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

# No EPS, PSD, WMF...: Pillow hands some of those to other programs, and photos do not come in them.
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".ppm", ".pgm", ".pbm", ".jp2")
MAX_PIXELS = 178_956_970  # the size at which Pillow itself, too, refuses a file as a decompression bomb

T = TypeVar("T")


class ImageError(ValueError):
    """A picture that cannot be read or found; the message names the file and the reason."""


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a picture the way a viewer shows it: upright (EXIF), first frame, transparency on white.

    Returns:
        (H, W, 3) uint8 RGB. Grey is repeated, 16-bit values keep their high byte (65535 becomes 255).

    Raises:
        ImageError: missing, truncated, no picture, more than `MAX_PIXELS`, or values without a fixed range (float,
            32-bit).
    """
    return _open(path, _decode)


def read_image_bytes(content: bytes, name: str, max_pixels: int | None = None) -> np.ndarray:
    """`read_image` of a picture's file that is in memory; errors call it `name`. `max_pixels`: a lower limit."""
    return _open(name, _decode, io.BytesIO(content), max_pixels)


def from_pil(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an opened picture, as `read_image` shows it. Raises ImageError."""
    try:
        check_size(image)
        own = image.copy()
        own.format = image.format  # which a copy forgets; what 16-bit values mean depends on it
        return _decode(own)
    except Exception as error:
        raise ImageError(f"a picture of mode {image.mode}: {error or type(error).__name__}") from error


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(H, W) of a picture as `read_image` shows it, once it is sure that none of its end is missing.

    Raises:
        ImageError: missing, truncated, no picture, or more than `MAX_PIXELS`.
    """
    return _open(path, _shown_size)


def read_label_image(path: str | os.PathLike) -> np.ndarray:
    """The values of a label image as they are stored, palette indices too.

    Returns:
        (H, W) bool, uint8, uint16 or int32.

    Raises:
        ImageError: as `read_image`, or an image with colour channels, or values that are no whole numbers.
    """
    return _open(path, _decode_labels)


def _open(
    path: str | os.PathLike,
    read: Callable[[Image.Image], T],
    file: BinaryIO | None = None,
    max_pixels: int | None = None,
) -> T:
    """What `read` makes of an opened picture, of the `file` in its place where it is in memory.

    Whatever goes wrong is an `ImageError` that names the path.
    """
    if file is None and not Path(path).is_file():  # also keeps pipes and devices from blocking the read
        raise ImageError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's: about size, where MAX_PIXELS decides, and broken metadata
            with Image.open(file or path, formats=FORMATS) as image:
                check_size(image, max_pixels)
                return read(image)
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise ImageError(f"{path}: not a readable picture (known: {known}; 8 or 16 bits a channel)") from error
    except Exception as error:  # decoders of broken files raise nearly anything: OSError, SyntaxError, struct.error
        raise ImageError(f"{path}: {error or type(error).__name__}") from error


def check_size(image: Image.Image, max_pixels: int | None = None) -> None:
    """Raise ValueError for an opened file of more than `max_pixels`, default `MAX_PIXELS`, before it is decoded."""
    pixels, limit = image.width * image.height, MAX_PIXELS if max_pixels is None else max_pixels
    if pixels > limit:
        raise ValueError(f"{image.width} x {image.height} = {pixels} pixels, more than the limit of {limit}")


def _shown_size(image: Image.Image) -> tuple[int, int]:
    on_its_side = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    width, height = image.size
    if not _ends_as_jpeg(image):
        image.draft(image.mode, (1, 1))  # a JPEG with something behind its end: all is read, few pixels are made
        image.load()
    return (width, height) if on_its_side else (height, width)


def _ends_as_jpeg(image: Image.Image) -> bool:
    if not isinstance(image, ImageFile.ImageFile) or image.format != "JPEG" or not image.fp:
        return False
    image.fp.seek(-2, os.SEEK_END)
    return image.fp.read() == b"\xff\xd9"


def _decode_labels(image: Image.Image) -> np.ndarray:
    labels = np.array(image)
    if labels.ndim != 2:
        raise ValueError(f"{labels.shape[2]} channels, expected one channel of class indices")
    if labels.dtype.kind not in "uib":
        raise ValueError(f"values of type {labels.dtype}, expected whole numbers, class indices")
    return labels


def _decode(image: Image.Image) -> np.ndarray:
    sixteen_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if image.mode in ("F", "I") and not sixteen_bit:
        raise ValueError(f"float or 32-bit values (mode {image.mode}) have no fixed range: convert to 8 or 16 bits")
    ImageOps.exif_transpose(image, in_place=True)
    if sixteen_bit:
        values = np.asarray(image).astype(np.uint16)
        if "transparency" in image.info:
            values[values == image.info["transparency"]] = np.iinfo(np.uint16).max
        grey = (values >> 8).astype(np.uint8)  # the high byte, as Pillow does with 16-bit colour
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def find_images(inputs: Iterable[str | os.PathLike], suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Expand files, folders (their pictures, by suffix, sorted, hidden ones left out) and globs to files, each once.

    `suffixes`: those of what is looked for in folders and by globs, where it is not pictures alone.

    Raises:
        ImageError: an input that is not there, matches nothing, or is a folder without pictures.
    """
    found: list[Path] = []
    for entry in inputs:
        path = Path(entry)
        if path.is_dir():
            new = sorted(child for child in path.iterdir() if _is_meant(child, suffixes))
        elif path.exists():
            new = [path]
        else:
            new = [
                Path(match)
                for match in sorted(glob.glob(str(entry), recursive=True))
                if _is_meant(Path(match), suffixes)
            ]
        if not new:
            reason = "no picture in this folder" if path.is_dir() else "no such file or folder"
            raise ImageError(f"{entry}: {reason}")
        found += new
    return list(dict.fromkeys(found))


def _is_meant(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.is_file() and path.suffix.lower() in suffixes and not path.name.startswith(".")
