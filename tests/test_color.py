"""SSD's colour augmentation: by hand, and against the one of Detectron2's PointRend project where that is at hand."""

import random

import cv2
import numpy as np
import pytest

from ovss.d2.api import T
from ovss.d2.training.color import ColorAugSSD, ColorTransform


def pixel(*rgb):
    return np.array([[rgb]], np.uint8)


@pytest.mark.parametrize(
    ("steps", "before", "after"),
    [
        ([], (10, 20, 30), (10, 20, 30)),
        ([("brightness", 20.6)], (10, 240, 0), (30, 255, 20)),  # rounded down, bounded
        ([("brightness", -20)], (10, 240, 20), (0, 220, 0)),
        ([("contrast", 1.5)], (10, 11, 200), (15, 16, 255)),
        ([("saturation", 0.5)], (200, 100, 100), (200, 150, 150)),  # HSV (0, 1/2, 200) to (0, 1/4, 200)
        ([("hue", 60)], (255, 0, 0), (0, 255, 0)),  # 120 degrees
        ([("hue", -60)], (255, 0, 0), (0, 0, 255)),
        ([("contrast", 0.5), ("brightness", 10)], (100, 0, 0), (60, 10, 10)),
        ([("brightness", 10), ("contrast", 0.5)], (100, 0, 0), (55, 5, 5)),
    ],
)
def test_operations_by_hand(steps, before, after):
    changed = ColorTransform(steps).apply_image(pixel(*before))
    assert changed.dtype == np.uint8
    assert np.abs(changed[0, 0].astype(int) - after).max() <= (1 if steps and steps[0][0] == "saturation" else 0)


def test_tables_say_what_arithmetic_does():
    """For every value of a channel, and amounts from end to end."""
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    hsv = np.stack([np.arange(256) % 180, np.arange(256), np.full(256, 200)], axis=-1)[None].astype(np.uint8)
    coloured = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    hsv = cv2.cvtColor(coloured, cv2.COLOR_RGB2HSV)
    for share in np.linspace(0, 1, 37):
        brightness, factor = -32 + 64 * share, 0.5 + share
        for operation, amount, expected in (
            ("brightness", brightness, grey.astype(np.float32) + brightness),
            ("contrast", factor, grey.astype(np.float32) * factor),
        ):
            found = ColorTransform([(operation, amount)]).apply_image(grey)
            np.testing.assert_array_equal(found, np.clip(expected, 0, 255).astype(np.uint8))
        hue, vivid = hsv.copy(), hsv.copy()
        turn = round(-18 + 36 * share)
        hue[..., 0] = (hue[..., 0].astype(int) + turn) % 180
        vivid[..., 1] = np.clip(vivid[..., 1].astype(np.float32) * factor, 0, 255).astype(np.uint8)
        for operation, amount, expected in (("hue", turn, hue), ("saturation", factor, vivid)):
            found = ColorTransform([(operation, amount)]).apply_image(coloured)
            np.testing.assert_array_equal(found, cv2.cvtColor(expected, cv2.COLOR_HSV2RGB))


def test_labels_and_the_given_picture_stay():
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), rng.integers(0, 9, (5, 7)).astype(float)
    kept = image.copy(), labels.copy()
    for seed in range(20):
        random.seed(seed)
        crop = T.AugInput(image, sem_seg=labels)
        T.AugmentationList([ColorAugSSD()])(crop)
        assert crop.image.shape == image.shape
        np.testing.assert_array_equal(crop.sem_seg, kept[1])
        np.testing.assert_array_equal(image, kept[0])


def test_draws_reach_every_operation_in_both_orders():
    random.seed(0)
    drawn = [[name for name, _ in ColorAugSSD().get_transform(pixel(0, 0, 0)).steps] for _ in range(400)]
    counts = {name: sum(name in steps for steps in drawn) for name in ("brightness", "contrast", "saturation", "hue")}
    assert all(160 < count < 240 for count in counts.values())
    orders = {tuple(steps) for steps in drawn if len(steps) == 4}
    assert orders == {
        ("brightness", "contrast", "saturation", "hue"),
        ("brightness", "saturation", "hue", "contrast"),
    }


def test_equals_point_rend_under_equal_draws():
    real = pytest.importorskip("detectron2.projects.point_rend", reason="compares with Detectron2's, not installed")
    rng = np.random.default_rng(0)
    for seed in range(200):
        image = cv2.blur(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8), (3, 3))
        random.seed(seed)
        expected = real.ColorAugSSDTransform("RGB").apply_image(image)
        after = random.random()
        random.seed(seed)
        found = ColorAugSSD().get_transform(image).apply_image(image)
        np.testing.assert_array_equal(found, expected)
        assert random.random() == after
