"""Label maps to pictures: overlay with legend, palette PNG, contact sheet. Imports Pillow and numpy only.

H W pixels of the given picture, K classes. Pictures are (H, W, 3) uint8 RGB, labels (H, W) integers.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ovss.palette import palette

# Drawn at a size where a legend can be read beside small pictures and huge ones stay viewable.
MIN_DISPLAY, MAX_DISPLAY = 512, 2048
INK, PAPER, UNTINTED = (34, 34, 34), (255, 255, 255), (200, 200, 200)


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    opacity: float = 0.6,
    legend: bool = True,
    background: int | None = None,
    colours: np.ndarray | None = None,
) -> Image.Image:
    """Tint every region with its class colour, draw thin contours, and list the classes that are there.

    The picture is drawn at a long side of 512 to 2048 pixels; the legend is below a wide picture, else to its right.

    Args:
        image: (H, W, 3) uint8; labels: (H, W) integers in [0, K) or equal to `background`; names: the K classes.
        opacity: 0 shows the picture alone, 1 the colours alone.
        background: a label to leave untinted; outside [0, K) (an ignore label) it is not listed either.
        colours: (K, 3) uint8, those of the classes; by default `palette(K)`.

    Raises:
        ValueError: labels of another size than the picture, a label without a name, or an opacity outside [0, 1].
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity {opacity}: give 0, the picture alone, to 1, the colours alone")
    if labels.shape != image.shape[:2]:
        raise ValueError(f"labels of size {labels.shape} do not fit a picture of size {image.shape[:2]}")
    present, counts = np.unique(labels, return_counts=True)
    nameless = [int(label) for label in present if not 0 <= label < len(names) and label != background]
    if nameless:
        raise ValueError(f"labels {nameless} have no name: the {len(names)} names are those of 0 to {len(names) - 1}")
    size = _display_size(image.shape[1], image.shape[0])
    shown = resize_labels(labels, size)
    photo = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), dtype=np.float32)
    colours = palette(len(names)) if colours is None else colours
    tinted = (1 - opacity) * photo + opacity * colours[np.clip(shown, 0, len(names) - 1)]
    if background is not None:
        tinted[shown == background] = photo[shown == background]
    tinted[_contours(shown, thickness=max(1, round(max(size) / 700)))] = PAPER
    picture = Image.fromarray(tinted.round().astype(np.uint8))
    largest_first = [label for label in present[np.argsort(-counts, kind="stable")] if 0 <= label < len(names)]
    shares = dict(zip(present, counts / labels.size, strict=True))
    entries = [
        (names[label], UNTINTED if label == background else tuple(colours[label].tolist()), shares[label])
        for label in largest_first
    ]
    return _with_legend(picture, entries) if legend and entries else picture


def _display_size(width: int, height: int) -> tuple[int, int]:
    scale = float(np.clip(max(width, height), MIN_DISPLAY, MAX_DISPLAY)) / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour by index: Pillow has no mode for every label type."""
    rows = ((np.arange(size[1]) + 0.5) * labels.shape[0] / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * labels.shape[1] / size[0]).astype(int)
    return labels[rows[:, None], columns]


def _contours(labels: np.ndarray, thickness: int) -> np.ndarray:
    """Mask of the pixels that have another label within `thickness` to the right or below."""
    mask = np.zeros(labels.shape, dtype=bool)
    for step in range(1, thickness + 1):
        mask[:-step] |= labels[:-step] != labels[step:]
        mask[:, :-step] |= labels[:, :-step] != labels[:, step:]
    return mask


def legend(picture: Image.Image, names: Sequence[str], background: int | None = None) -> Image.Image:
    """The picture with the names and colours of classes 0..K-1 below or beside it; its size depends on these alone."""
    colours = [
        UNTINTED if label == background else tuple(colour) for label, colour in enumerate(palette(len(names)).tolist())
    ]
    return _with_legend(picture, [(name, colour, None) for name, colour in zip(names, colours, strict=True)])


def _with_legend(picture: Image.Image, entries: list[tuple[str, tuple[int, ...], float | None]]) -> Image.Image:
    """Put (name, colour, share of the area or None) entries below a wide picture or to the right of a tall one."""
    text = max(15, round(max(picture.size) / 45))
    font = ImageFont.load_default(text)
    row, gap = round(text * 1.6), text
    wanted = round(max(font.getlength(name) for name, _, _ in entries) + font.getlength("100.0 %") + 3.5 * text)
    if picture.width > 1.2 * picture.height:
        narrow = min(wanted, 12 * text)
        columns = min(len(entries), max(1, (picture.width - gap) // (narrow + gap)))
        rows = -(-len(entries) // columns)
        column = min(wanted, (picture.width - gap) // columns - gap)
        size = (picture.width, picture.height + rows * row + 2 * gap)
        left, top = 0, picture.height
    else:
        column = min(wanted, 15 * text)
        rows = min(len(entries), max(1, (picture.height - 2 * gap) // row))
        columns = -(-len(entries) // rows)
        size = (picture.width + columns * (column + gap) + gap, picture.height)
        left, top = picture.width, 0
    canvas = Image.new("RGB", size, PAPER)
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for index, (name, colour, share) in enumerate(entries):
        x, y = left + gap + index // rows * (column + gap), top + gap + index % rows * row
        draw.rounded_rectangle((x, y, x + round(1.2 * text), y + text), radius=text // 5, fill=colour, outline=INK)
        percent = "" if share is None else f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"
        room = column - 2.2 * text - font.getlength(percent)
        middle = y + text / 2
        draw.text((x + round(1.7 * text), middle), _shorten(name, font, room), INK, font, anchor="lm")
        draw.text((x + column, middle), percent, INK, font, anchor="rm")
    return canvas


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """Cut `text` to `room` pixels, three dots at the end."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."


def label_png(labels: np.ndarray) -> Image.Image:
    """Labels as a picture that keeps them exactly: pixel value = class; in colour (mode P) up to 255, else 16-bit grey.

    Raises:
        ValueError: a negative label or one above 65535.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > 65535:
        raise ValueError(f"labels from {low} to {high} do not fit a 16-bit picture: they must be 0 to 65535")
    if high > 255:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(palette(256).tobytes())
    return picture


def contact_sheet(
    images: Sequence[Image.Image | np.ndarray], titles: Sequence[str], columns: int | None = None
) -> Image.Image:
    """Pictures side by side at one height, a title above each; in rows of `columns`, by default one row.

    Raises:
        ValueError: no picture, or not one title for each.
    """
    if not images or len(images) != len(titles):
        raise ValueError(f"{len(images)} pictures and {len(titles)} titles: give at least one picture, each a title")
    pictures = [image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images]
    height = int(np.clip(max(picture.height for picture in pictures), MIN_DISPLAY // 2, MAX_DISPLAY // 2))
    sizes = [(max(1, round(picture.width * height / picture.height)), height) for picture in pictures]
    columns = min(columns or len(pictures), len(pictures))
    widths = [max(width for width, _ in sizes[start::columns]) for start in range(columns)]
    text = max(15, height // 22)
    font = ImageFont.load_default(text)
    band, gap = round(text * 1.8), round(height / 40)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (sum(widths) + gap * (len(widths) + 1), rows * (height + band + gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        row, place = divmod(index, columns)
        x, y = gap + sum(widths[:place]) + gap * place, row * (height + band + gap)
        draw.text((x, y + band / 2), _shorten(title, font, widths[place]), INK, font, anchor="lm")
        sheet.paste(picture.convert("RGB").resize(sizes[index], Image.Resampling.LANCZOS), (x, y + band))
    return sheet
