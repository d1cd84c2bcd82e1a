"""What the web page sends: values that survive the way, pictures within limits, names that are text, an archive."""

import types
import zipfile

import numpy as np
from page_pictures import HOSTILE, decoded

from ovss.page.archive import write_archive
from ovss.page.intake import Picture
from ovss.page.markup import message_html, preview_html
from ovss.page.payload import class_colours, data_of, picture_url, run_message
from ovss.page.systems import Run
from ovss.segmentation import Segmentation
from ovss.vocabulary import Vocabulary

KEYS = ("cat_seg", "cliptrase")


def test_values_survive_the_way_to_the_browser():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 200, (20, 30))
    scores = rng.normal(5, 20, (20, 30)).astype(np.float32)
    data = data_of(scores, labels)
    pixels = decoded(data["url"]).astype(np.int64)
    assert (pixels[..., 0] == labels).all()
    read = data["low"] + (pixels[..., 1] * 256 + pixels[..., 2]) / 65535 * (data["high"] - data["low"])
    assert np.abs(read - scores).max() <= (scores.max() - scores.min()) / 65535
    assert data["low"] == scores.min()
    flat = data_of(np.full((2, 2), 0.5, np.float32))
    assert decoded(flat["url"]).max() == 0
    assert flat["low"] == 0.5
    halved = decoded(data_of(scores, labels, (15, 10))["url"])
    assert (halved[..., 0] == labels[1::2, 1::2]).all(), "labels are picked, never mixed"


def test_pictures_for_the_browser_are_bounded():
    small = np.random.default_rng(0).integers(0, 256, (128, 100, 3), dtype=np.uint8)
    assert (decoded(picture_url(small, 1000)) == small).all()
    assert decoded(picture_url(np.zeros((900, 3000, 3), np.uint8), 1000)).shape == (300, 1000, 3)
    assert decoded(picture_url(np.zeros((1, 3000, 3), np.uint8), 1000)).shape == (1, 1000, 3)


def test_background_has_no_colour_of_its_own():
    colours = class_colours(("cat", "background"))
    assert colours[1] == "#c8c8c8"
    assert colours[0] == class_colours(("cat",))[0] != colours[1]


def test_names_are_text():
    picture = Picture(np.zeros((4, 4, 3), np.uint8), HOSTILE, HOSTILE)
    for written in (preview_html(picture), message_html(HOSTILE)):
        assert "<img src=x" not in written
        assert "&lt;img" in written
    assert message_html("") == ""


def test_archives_have_names_that_every_disk_takes(tmp_path):
    pixels = np.zeros((4, 5, 3), np.uint8)
    for name, stem in (("../a b/ü<x>.png", "ü_x"), ("...", "picture"), ("x" * 300 + ".png", "x" * 80)):
        found = Segmentation(np.zeros((4, 5), np.int64), np.zeros((4, 5), np.float32), ("cat",), pixels, name)
        path = write_archive(tmp_path, {"cat_seg": found})
        assert path.name == f"{stem}_ovss.zip"
        with zipfile.ZipFile(path) as archive:
            assert f"cat_seg/{stem}_labels.png" in archive.namelist()


def test_the_message_of_a_run_needs_no_more_than_the_browser_shows():
    systems = tuple(types.SimpleNamespace(key=key, title=key, name=key) for key in KEYS)
    picture = Picture(np.zeros((1500, 2000, 3), np.uint8), "a.png")
    run = Run(picture, Vocabulary.parse("grass, sand"), dict.fromkeys(KEYS, 0.1), (12, 16))
    labels = np.repeat(np.arange(2), 750)[:, None].repeat(2000, axis=1)
    found = Segmentation(labels, np.ones((1500, 2000), np.float32), run.classes, picture.pixels)
    shown = run_message(systems, run, dict.fromkeys(KEYS, found))
    assert shown["size"] == [2000, 1500]
    data = decoded(shown["systems"][0]["data"]["url"])
    assert data.shape == decoded(shown["picture"]).shape == (750, 1000, 3)
    assert (data[..., 0] == np.repeat(np.arange(2), 375)[:, None]).all()
