"""Maps over a photo: where they are bright, how bright, and where the marks are."""

import numpy as np
from PIL import Image

from ovss.heat import heat, heat_row, mark


def test_heat_is_brightest_at_the_peak_and_leaves_the_photo_where_there_is_none():
    photo = Image.new("RGB", (100, 60), (200, 200, 200))
    values = np.zeros((3, 5), dtype=np.float32)
    values[1, 3] = 0.01
    drawn = np.asarray(heat(photo, values)).sum(axis=2)
    y, x = np.unravel_index(drawn.argmax(), drawn.shape)
    assert (y // 20, x // 20) == (1, 3)
    assert drawn[0, 0] == 3 * 80
    assert (np.asarray(heat(photo, 0 * values)) == 80).all()


def test_brightness_rises_with_the_value():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    drawn = np.asarray(heat(Image.new("RGB", (256, 1), (255, 255, 255)), ramp).convert("L"), dtype=int)[0]
    assert (np.diff(drawn) >= -1).all(), "rounding apart"
    assert drawn[-1] > drawn[0] + 100


def test_a_common_peak_makes_maps_comparable():
    photo = Image.new("RGB", (20, 20))
    weak = np.full((2, 2), 0.25, np.float32)
    assert (np.asarray(heat(photo, weak)) == np.asarray(heat(photo, 4 * weak))).all(), "each by its own maximum"
    assert np.asarray(heat(photo, weak, peak=1)).sum() < np.asarray(heat(photo, 4 * weak, peak=1)).sum()
    assert (np.asarray(heat(photo, 8 * weak, peak=1)) == np.asarray(heat(photo, 4 * weak, peak=1))).all(), "clipped"
    assert not np.asarray(heat(photo, 0 * weak, peak=0)).any()


def test_rows_have_a_map_and_a_mark_for_each_point():
    photo = Image.new("RGB", (200, 100), (200, 200, 200))
    tiles = heat_row(photo, np.zeros((2, 3, 4), np.float32), [(50, 50), (150, 20)])
    for tile, (x, y) in zip(tiles, [(50, 50), (150, 20)], strict=True):
        changed = (np.asarray(tile) != 80).any(axis=2).nonzero()
        assert abs(changed[0].mean() - y) < 1
        assert abs(changed[1].mean() - x) < 1


def test_a_numbered_mark_is_a_disc_and_another_a_ring():
    disc, ring = Image.new("RGB", (320, 320), (9, 99, 9)), Image.new("RGB", (320, 320), (9, 99, 9))
    mark(disc, (160, 160), "1")
    mark(ring, (160, 160))
    assert disc.getpixel((160, 150)) != (9, 99, 9)
    assert ring.getpixel((160, 160)) == (9, 99, 9), "what is below is left in sight"
