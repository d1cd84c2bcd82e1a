"""The web page in a real browser, where one is installed: what a user does, sees and reads, and what goes wrong."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from page_browsing import clear_places, point_at, segment, upload
from page_pictures import HOSTILE, png
from page_process import app_arguments, running
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ovss.hub import global_patch
from ovss.page.intake import MAX_DECODED
from ovss.page.systems import System, load_systems
from ovss.palette import palette
from ovss.scenes import split_scene

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome in the path")]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
expect.set_options(timeout=60_000)
WORDS = ["yellow circle", "yellow square", "purple square", "sand", "grass", "red star"]
SCENE = split_scene("val", 2).image
# Any word is a known one to this server: the embedded CLIP reads what it does not know as its sixth token.
ANY_WORD = """
import sys
from ovss.clip.tokenizer import Tokenizer
Tokenizer._look_up = lambda self, tokens, sentence: [self._compact.get(token, 5) for token in tokens]
from ovss.cli import main
sys.exit(main())
"""
PIXEL = "([canvas, x, y]) => Array.from(canvas.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3))"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("app")) as address:
        yield address


@pytest.fixture(scope="module")
def systems() -> tuple[System, System]:
    return load_systems(app_arguments())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser) -> Iterator:
    """A function that opens the page as a new user; afterwards no console has an error, and nobody else was asked."""
    complaints, requests, contexts = [], [], []

    def open_page(address: str, width: int = 1280) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        expect(page.locator("#viewer .hint")).to_be_visible()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
    assert requests
    assert {re.match(r"http://127\.0\.0\.1(?=:)|data:|blob:", url)[0] for url in requests} <= {
        "http://127.0.0.1",
        "data:",
        "blob:",
    }


@pytest.fixture
def page(open_page, address) -> Page:
    return open_page(address)


def test_legends_and_readings_are_what_the_models_say(page, systems):
    segment(page, WORDS, SCENE)
    found = {system.key: system.predictor.segment(SCENE, WORDS) for system in systems}
    for key, result in found.items():
        names = page.locator(f'#labels [data-system="{key}"] .legend .name').all_inner_texts()
        shares = page.locator(f'#labels [data-system="{key}"] .legend .share').all_inner_texts()
        areas = sorted(((area, name) for name, area in result.areas().items() if area), reverse=True)
        assert names == [name for _, name in areas]
        assert shares == [f"{100 * area:.1f} %" if area >= 0.001 else "< 0.1 %" for area, _ in areas]
        absent = [name for name, area in result.areas().items() if not area]
        assert page.locator(f'#labels [data-system="{key}"] .absent').inner_text() == f"not found: {', '.join(absent)}"
    places = clear_places(systems[1].predictor.logits(SCENE, WORDS).numpy(), 6)
    for turn, (row, column) in enumerate(places):
        pointed = page.locator(f'#labels [data-system="{list(found)[turn % 2]}"] canvas')
        point_at(pointed, (column + 0.5) / 128, (row + 0.5) / 128)
        for key, result in found.items():
            readout = page.locator(f'#labels [data-system="{key}"] .readout')
            assert readout.locator(".name").inner_text() == result.classes[result.labels[row, column]]
            assert float(readout.locator(".score").inner_text()) == pytest.approx(
                float(result.scores[row, column]), abs=1.1e-3
            )
            assert readout.inner_text().endswith(f"at {column}, {row}")
    page.mouse.move(1, 1)
    assert not page.locator("#labels .readout .name").count()


def test_a_larger_picture_is_read_at_the_same_places(page, systems):
    """Of 1600 x 1200 pixels the browser gets 1000 x 750."""
    picture = np.asarray(Image.fromarray(SCENE).resize((1600, 1200), Image.Resampling.BICUBIC))
    segment(page, WORDS, picture)
    result = systems[0].predictor.segment(picture, WORDS)
    canvas = page.locator('#labels [data-system="cat_seg"] canvas')
    readout = page.locator('#labels [data-system="cat_seg"] .readout')
    for row, column in clear_places(systems[0].predictor.logits(picture, WORDS).numpy(), 4):
        point_at(canvas, (column + 0.5) / 1600, (row + 0.5) / 1200)
        x, y = map(int, readout.locator(".soft").inner_text().removeprefix("at ").split(", "))
        assert abs(x - column) <= 2, "a pixel of the screen is about two of the picture"
        assert abs(y - row) <= 2
        assert readout.locator(".name").inner_text() == result.classes[result.labels[row, column]]
        score = float(readout.locator(".score").inner_text())
        near = result.scores[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5]
        assert near.min() - 1e-3 <= score <= near.max() + 1e-3


def test_opacity_changes_the_pictures_without_a_run(page, systems):
    segment(page, WORDS, SCENE)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    canvas = page.locator('#labels [data-system="cat_seg"] canvas').element_handle()
    label = int(systems[0].predictor.segment(SCENE, WORDS).labels[90, 20])
    scale = canvas.evaluate("canvas => canvas.width") // 128
    place = [canvas, 20 * scale + scale // 2, 90 * scale + scale // 2]
    colours = {}
    for opacity in (0, 50, 100):
        page.locator("#opacity").fill(str(opacity))
        assert page.locator("#viewer output").inner_text() == f"{opacity} %"
        colours[opacity] = np.array(page.evaluate(PIXEL, place))
    assert np.abs(colours[0] - SCENE[88:93, 18:23].mean((0, 1))).max() < 25, "the picture alone"
    assert (colours[100] == palette(label + 1)[label]).all()
    assert np.abs(colours[50] - (colours[0] + colours[100]) / 2).max() <= 2
    assert not asked


def test_pointing_at_a_legend_shows_the_class_alone(page):
    segment(page, WORDS, SCENE)
    canvas = page.locator('#labels [data-system="cat_seg"] canvas').element_handle()
    corner = [canvas, 10, canvas.evaluate("canvas => canvas.height") - 10]
    before = page.evaluate(PIXEL, corner)
    page.locator('#labels [data-system="cliptrase"] .legend button', has_text="purple square").hover()
    assert page.evaluate(PIXEL, corner) != before, "sand is not tinted"
    page.mouse.move(1, 1)
    assert page.evaluate(PIXEL, corner) == before


def test_arrow_keys_move_the_point(page):
    segment(page, WORDS, SCENE)
    page.locator('#labels [data-system="cat_seg"] canvas').focus()
    page.keyboard.press("ArrowRight")
    for readout in page.locator("#labels .readout").all():
        assert readout.inner_text().endswith("at 65, 64")
    page.keyboard.press("Shift+ArrowDown")
    assert page.locator("#labels .readout").first.inner_text().endswith("at 65, 74")


def test_score_maps_of_a_class(page, systems):
    segment(page, WORDS, SCENE)
    page.locator('#labels [data-system="cat_seg"] .legend button', has_text="purple square").click()
    pictures = []
    for index in (WORDS.index("purple square"), WORDS.index("sand")):
        if index != WORDS.index("purple square"):
            page.locator("#class").select_option(label=WORDS[index])
        expect(page.locator(f'#scores[data-index="{index}"]')).to_be_visible()
        for system in systems:
            scores = system.predictor.logits(SCENE, WORDS).numpy()
            pane = page.locator(f'#scores [data-system="{system.key}"]')
            for row, column in ((80, 20), (60, 75)):
                point_at(pane.locator("img"), (column + 0.5) / 128, (row + 0.5) / 128)
                shown = float(pane.locator(".readout .score").inner_text())
                assert shown == pytest.approx(float(scores[index, row, column]), abs=2e-3)
            low, high = pane.locator(".scale span").all_inner_texts()
            assert float(low) == pytest.approx(float(scores.min()), abs=2e-3)
            assert float(high) == pytest.approx(float(scores.max()), abs=2e-3)
            pictures.append(pane.locator("img").get_attribute("src"))
    assert len(set(pictures)) == 4


def test_global_patches(page, systems):
    segment(page, WORDS, SCENE)
    page.locator("#tab-patches").click()
    expect(page.locator("#patches[data-place]")).to_be_visible()  # of the middle, unasked
    rows, columns = global_patch().patch_grid(systems[1].predictor, SCENE)
    grid = page.locator("#grid")
    first = page.locator('img[data-map="after"]').get_attribute("src")
    box = grid.bounding_box()
    grid.click(position={"x": box["width"] * 4.5 / columns, "y": box["height"] * 2.5 / rows})
    expect(page.locator("#patches")).to_have_attribute("data-place", f"{4.5 / columns} {2.5 / rows}")
    assert page.locator('img[data-map="after"]').get_attribute("src") != first
    for name in ("before", "after", "token"):
        picture = page.locator(f'img[data-map="{name}"]')
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") == 512
    maps = global_patch().look(systems[1].predictor, SCENE, [(4 * 128 // columns + 2, 2 * 128 // rows + 2)])
    numbers = re.findall(r"\d\.\d\d", page.locator(".overlap").inner_text())
    assert float(numbers[0]) == pytest.approx(maps.overlap_before, abs=0.011)
    assert float(numbers[1]) == pytest.approx(maps.overlap_after, abs=0.011)


def test_a_patch_is_chosen_with_the_keyboard(page, systems):
    """Arrow keys read in the browser, Enter asks the server."""
    segment(page, WORDS, SCENE)
    page.locator("#tab-patches").click()
    expect(page.locator("#patches[data-place]")).to_be_visible()
    rows, columns = global_patch().patch_grid(systems[1].predictor, SCENE)
    result = systems[1].predictor.segment(SCENE, WORDS)
    page.mouse.move(1, 1)
    grid, told, asked = page.locator("#grid"), page.locator("#pointed"), []
    page.on("request", lambda request: asked.append(request.url))
    grid.focus()
    row, column = rows // 2, columns // 2  # of the middle, whose maps are there
    for key, down, right in (("ArrowUp", -1, 0), ("ArrowUp", -1, 0), ("ArrowLeft", 0, -1)):
        row, column = row + down, column + right
        before = grid.evaluate("canvas => canvas.toDataURL()")
        page.keyboard.press(key)
        assert grid.evaluate("canvas => canvas.toDataURL()") != before, "another patch is framed"
        y, x = int((row + 0.5) * 128 / rows), int((column + 0.5) * 128 / columns)
        name, score = result.classes[result.labels[y, x]], float(result.scores[y, x])
        assert told.inner_text().startswith(f"Row {row + 1}, column {column + 1}: {name} ")
        assert float(told.inner_text().split()[-1]) == pytest.approx(score, abs=1.1e-3)
    assert not asked
    page.keyboard.press("Enter")
    expect(page.locator("#patches")).to_have_attribute("data-place", f"{(column + 0.5) / columns} {(row + 0.5) / rows}")
    assert asked
    page.locator("#tab-patches").focus()
    assert told.inner_text() == "Press a patch"


def test_the_result_can_be_taken_home(page, systems):
    segment(page, WORDS, SCENE)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "my_scene_ovss.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        for system in systems:
            files = {name for name in archive.namelist() if name.startswith(f"{system.key}/")}
            ends = ("_overlay.jpg", "_labels.png", ".json")
            assert files == {f"{system.key}/my_scene{end}" for end in ends}
            labels = np.asarray(Image.open(io.BytesIO(archive.read(f"{system.key}/my_scene_labels.png"))))
            assert (labels == system.predictor.segment(SCENE, WORDS).labels).mean() > 0.999
            assert json.loads(archive.read(f"{system.key}/my_scene.json"))["classes"] == WORDS


def test_an_example_brings_its_picture_and_words(page):
    page.locator("#examples button").nth(1).click()
    expect(page.locator("#preview figcaption")).to_contain_text("scene_059.png, 128 x 128")
    assert "red square" in page.locator("#words textarea").input_value()
    page.locator("#segment").click()
    expect(page.locator('#labels [data-system="cat_seg"] .legend')).to_contain_text("brick wall")


def test_mistakes_are_told_and_the_page_goes_on(page):
    told = page.locator("#message")
    upload(page, "note.png", b"a text, no picture")
    expect(told).to_contain_text("note.png: not a readable picture")
    side = int(MAX_DECODED**0.5) + 1
    upload(page, "bomb.png", png(np.zeros((side, side), bool)))
    expect(told).to_contain_text(f"bomb.png: {side} x {side} = {side * side} pixels, more than the limit")
    for words, message in (("", "no words to look for"), ("grass, zebra", "does not know ['zebra']")):
        page.locator("#words textarea").fill(words)
        page.locator("#segment").click()
        expect(told).to_contain_text(message)
    page.locator("#words textarea").fill(f"grass, {HOSTILE}")
    page.locator("#segment").click()
    expect(told).to_contain_text(HOSTILE)
    assert not page.locator("#message img").count()
    segment(page, WORDS, SCENE)
    expect(told).to_be_hidden()
    assert page.title() == "ovss: open-vocabulary segmentation"


def test_an_answer_that_cannot_be_shown_is_told_and_the_next_is_shown(page):
    """As where the browser has no memory left for a picture, once."""
    page.evaluate(
        "() => { const {decode} = Image.prototype;"
        "Image.prototype.decode = async () => { Image.prototype.decode = decode; throw new Error('no room'); } }"
    )
    page.locator("#segment").click()
    expect(page.locator("#viewer .trouble")).to_have_text("the browser could not show the answer (no room): try again")
    page.locator("#segment").click()
    expect(page.locator("#viewer [data-run]")).to_be_visible()
    expect(page.locator("#viewer .trouble")).to_be_hidden()


def test_names_are_text_on_the_page(open_page, tmp_path):
    hostile = [HOSTILE, "<script>document.title = 'broken'</script>", "`${document.title='broken'}`", "{{value}}", "猫"]
    words = [*hostile, "a\\b", "yellow circle", "sand"]
    with running(tmp_path, "-c", ANY_WORD) as address:
        page = open_page(address)
        segment(page, words, SCENE)
        for pane in page.locator("#labels .pane").all():
            named = pane.locator(".legend .name").all_inner_texts()
            absent = pane.locator(".absent").inner_text()
            assert all(word in named or word in absent for word in words)
        assert page.locator("#class option").all_inner_texts() == words
        page.locator("#tab-scores").click()
        expect(page.locator("#scores[data-index]")).to_be_visible()
        assert page.title() == "ovss: open-vocabulary segmentation"
        assert not page.locator("#viewer script, #viewer img[src=x]").count()


def test_two_users_at_once(open_page, address, systems):
    users = [open_page(address), open_page(address)]
    scenes = [split_scene("val", index).image for index in (2, 87)]
    for page, scene in zip(users, scenes, strict=True):
        upload(page, "a.png", png(scene))
        expect(page.locator("#preview figcaption")).to_contain_text("a.png")
    for page in users:
        page.locator("#words textarea").fill("sand, water")
    for page in users:
        page.locator("#segment").click()
    for page, scene in zip(users, scenes, strict=True):
        areas = systems[0].predictor.segment(scene, "sand, water").areas()
        legend = page.locator('#labels [data-system="cat_seg"] .legend')
        expect(legend.locator(".name").first).to_have_text(max(areas, key=areas.get))
        expect(legend.locator(".share").first).to_have_text(f"{100 * max(areas.values()):.1f} %")


def test_a_narrow_page_is_never_scrolled_sideways(open_page, address):
    page = open_page(address, width=420)
    segment(page, WORDS)
    for tab in ("scores", "patches", "labels"):
        page.locator(f"#tab-{tab}").click()
        expect(page.locator(f"#{tab}")).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0
    expect(page.locator("#viewer")).to_be_in_viewport()
