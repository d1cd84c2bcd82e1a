"""Colours, overlay, legend, label PNG and contact sheet, on pictures small enough to check by hand."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from ovss.palette import palette
from ovss.visualize import _shorten, contact_sheet, label_png, overlay

NAMES = ["cat", "wall", "sky"]
PACK = np.array([65536, 256, 1])  # an RGB colour as one number


def halves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat grey picture of value 100 with label 0 on the left half and 2 on the right."""
    labels = np.zeros((height, width), np.int64)
    labels[:, width // 2 :] = 2
    return np.full((height, width, 3), 100, np.uint8), labels


def test_palette_is_stable_and_distinct():
    colours = palette(1024)
    assert colours.shape == (1024, 3)
    assert colours.dtype == np.uint8
    for n in (1, 7, 150):
        np.testing.assert_array_equal(palette(n), colours[:n])
    assert len(np.unique(colours, axis=0)) == 1024
    assert palette(0).shape == (0, 3)
    np.testing.assert_array_equal(palette(1026)[1024:], colours[:2])


def test_palette_keeps_early_colours_far_apart():
    colours = palette(20).astype(float)
    gaps = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    assert gaps[np.triu_indices(20, k=1)].min() > 60, "of 441, the distance of black and white"


def test_palette_cannot_be_spoilt_by_its_user():
    first = palette(3)
    first[:] = 0
    assert palette(3).any()


@pytest.mark.parametrize("opacity", [60, -0.1, 1.01])
def test_an_opacity_is_a_share(opacity):
    with pytest.raises(ValueError, match=rf"opacity {opacity}: give 0, the picture alone, to 1"):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), int), NAMES, opacity=opacity)


def test_overlay_blends_by_opacity():
    image, labels = halves(512, 1024)
    drawn = np.asarray(overlay(image, labels, NAMES, opacity=0.6, legend=False))
    assert drawn.shape == (512, 1024, 3)
    np.testing.assert_array_equal(drawn[256, 100], np.round(0.4 * 100 + 0.6 * palette(3)[0]))
    np.testing.assert_array_equal(drawn[256, 900], np.round(0.4 * 100 + 0.6 * palette(3)[2]))
    np.testing.assert_array_equal(drawn[256, 511], [255, 255, 255], err_msg="the contour between the two")


def test_overlay_leaves_the_background_untinted():
    image, labels = halves(512, 512)
    drawn = np.asarray(overlay(image, labels, NAMES, background=2, legend=False))
    np.testing.assert_array_equal(drawn[10, 400], [100, 100, 100])
    assert (drawn[10, 100] != 100).any()
    labels[labels == 2] = 255
    ignored = np.asarray(overlay(image, labels, NAMES, background=255, legend=False))
    np.testing.assert_array_equal(ignored, drawn)


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(128, 128, (512, 512)), (96, 128, (512, 384)), (600, 800, (800, 600)), (4000, 8, (4, 2048)), (1, 900, (900, 1))],
)
def test_display_size(height, width, shown):
    image, labels = halves(height, width)
    assert overlay(image, labels, NAMES, legend=False).size == shown


def test_legend_stands_below_wide_pictures_and_beside_tall_ones():
    for height, width in ((512, 800), (800, 512), (512, 512)):
        image, labels = halves(height, width)
        drawn = overlay(image, labels, NAMES)
        wide = width > 1.2 * height
        assert (drawn.width == width, drawn.height == height) == (wide, not wide)


def swatches(drawn: Image.Image, colours: np.ndarray) -> list[int]:
    """Indices of the colours found in a drawn legend, in the order in which they occur, row by row."""
    pixels, place = np.unique(np.asarray(drawn).reshape(-1, 3) @ PACK, return_index=True)
    first = dict(zip(pixels.tolist(), place.tolist(), strict=True))
    found = [k for k, code in enumerate((colours @ PACK).tolist()) if code in first]
    return sorted(found, key=lambda k: first[int(colours[k] @ PACK)])


def test_legend_lists_present_classes_largest_first():
    labels = np.zeros((600, 300), np.int64)
    labels[100:] = 2  # 5/6 of the picture; class 1 is absent
    image = np.full((600, 300, 3), 100, np.uint8)
    drawn = overlay(image, labels, NAMES)
    assert swatches(drawn.crop((300, 0, *drawn.size)), palette(3)) == [2, 0]
    drawn = overlay(image, labels, NAMES, background=2)
    assert swatches(drawn.crop((300, 0, *drawn.size)), np.array([palette(1)[0], (200, 200, 200)])) == [1, 0]


def test_legend_of_many_classes_wraps_and_none_is_lost():
    image = np.full((300, 300, 3), 100, np.uint8)
    labels = np.arange(90000).reshape(300, 300) % 150
    names = [f"a rather long name of class {k}" for k in range(150)]
    drawn = overlay(image, labels, names)
    assert drawn.height == 512
    assert set(swatches(drawn.crop((512, 0, *drawn.size)), palette(150))) == set(range(150))


def test_shorten_ends_in_dots_and_fits():
    font = ImageFont.load_default(16)
    assert _shorten("cat", font, 100) == "cat"
    short = _shorten("a very long name of a class", font, 100)
    assert short.endswith("...")
    assert font.getlength(short) <= 100 < font.getlength("a very long name of a class")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 5), int), r"labels of size \(4, 5\) do not fit a picture of size \(4, 4\)"),
        (np.full((4, 4), 3), r"labels \[3\] have no name: the 3 names are those of 0 to 2"),
        (np.full((4, 4), -1), r"labels \[-1\] have no name"),
    ],
)
def test_overlay_refuses_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        overlay(np.zeros((4, 4, 3), np.uint8), labels, NAMES)


@pytest.mark.parametrize(("high", "coloured"), [(2, True), (255, True), (256, False), (65535, False)])
def test_label_png_keeps_every_label(high, coloured):
    labels = np.array([[0, 1, high]])
    file = io.BytesIO()
    label_png(labels).save(file, "PNG")
    with Image.open(file) as read:
        assert (read.mode == "P") == coloured
        np.testing.assert_array_equal(np.asarray(read), labels)
        if coloured:
            np.testing.assert_array_equal(np.asarray(read.convert("RGB"))[0], palette(256)[[0, 1, high]])


@pytest.mark.parametrize("label", [-1, 65536])
def test_label_png_refuses_what_does_not_fit(label):
    with pytest.raises(ValueError, match=f"labels from .*{label}"):
        label_png(np.array([[0, label]]))


def test_contact_sheet_places_pictures_in_rows():
    colours = ["red", "lime", "blue"]
    pictures = [Image.new("RGB", (400, 400), colour) for colour in colours]
    row = contact_sheet(pictures, ["one", "two", "three"])
    grid = contact_sheet(pictures, ["one", "two", "three"], columns=2)
    assert row.width > 1200 > grid.width > 800
    assert grid.height == 2 * row.height
    centres = [(0.5 / 3, 0.5), (1.5 / 3, 0.5), (2.5 / 3, 0.5)]
    assert [row.getpixel((int(x * row.width), int(y * row.height))) for x, y in centres] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    ]
    assert grid.getpixel((grid.width // 4, grid.height * 3 // 4)) == (0, 0, 255)


def test_contact_sheet_brings_pictures_to_one_height():
    sheet = contact_sheet([np.zeros((100, 50, 3), np.uint8), Image.new("L", (600, 300))], ["a", "b"])
    dark = (np.asarray(sheet.convert("L")) == 0).sum()
    assert dark == 300 * 150 + 600 * 300


@pytest.mark.parametrize(("count", "titles"), [(0, []), (2, ["one"])])
def test_contact_sheet_refuses_unequal_lists(count, titles):
    with pytest.raises(ValueError, match=f"{count} pictures and {len(titles)} titles"):
        contact_sheet([Image.new("RGB", (8, 8))] * count, titles)
