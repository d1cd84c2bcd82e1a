"""Photograph what docs/ shows in a browser: the web page in use, with the embedded models, and a report of scores.

    python docs/make_screenshots.py                 # writes docs/images/app*.jpg and report.jpg

Needs Chromium or Chrome in the path and `pip install -e '.[test]'`; no network.
"""

import argparse
import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SIZE = {"width": 1400, "height": 920}
EXAMPLE, CLASS, PATCH = 2, "purple square", (0.68, 0.42)  # of the drawn scenes; a class of it; a place on that
# Of the picture of a report, in pixels of its page: a column, the line between both, what is shown of the confusion.
COLUMN, GAP, LINE, MATRIX = (1000, 1330), 3, (200, 206, 214), 670
PATIENCE = 120_000  # ms


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw docs/images/app*.jpg and report.jpg.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images", metavar="FOLDER")
    folder = parser.parse_args().output
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        print(f"no browser in the path: install one of {', '.join(BROWSERS)}", file=sys.stderr)
        return 2
    expect.set_options(timeout=PATIENCE)
    with running() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        for name, show in (("app", labels), ("app_scores", scores), ("app_global_patch", patches)):
            show(page)
            path = folder / f"{name}.jpg"
            page.screenshot(path=path, type="jpeg", quality=85)
            print(path)
        path = folder / "report.jpg"
        report(browser).save(path, quality=75)
        print(path)
        browser.close()
    return 0


@contextmanager
def running() -> Iterator[str]:
    """The address of `ovss app`."""
    command = [sys.executable, "-m", "ovss", "app", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)


def labels(page: Page) -> None:
    page.locator("#examples button").nth(EXAMPLE).click()
    expect(page.locator("#words textarea")).to_have_value(re.compile(CLASS))
    page.locator("#segment").click()
    canvas = page.locator('#labels [data-system="cat_seg"] canvas')
    box = canvas.bounding_box() or {}
    canvas.hover(position={"x": PATCH[0] * box["width"], "y": PATCH[1] * box["height"]})


def scores(page: Page) -> None:
    page.locator('#labels [data-system="cat_seg"] .legend button', has_text=CLASS).click()
    expect(page.locator("#scores[data-index]")).to_be_visible()
    image = page.locator('#scores [data-system="cat_seg"] img')
    box = image.bounding_box() or {}
    image.hover(position={"x": PATCH[0] * box["width"], "y": PATCH[1] * box["height"]})


def patches(page: Page) -> None:
    page.locator("#tab-patches").click()
    expect(page.locator("#patches[data-place]")).to_be_visible()
    before = page.locator("#patches").get_attribute("data-place") or ""
    grid = page.locator("#grid")
    box = grid.bounding_box() or {}
    grid.click(position={"x": PATCH[0] * box["width"], "y": PATCH[1] * box["height"]})
    expect(page.locator("#patches")).not_to_have_attribute("data-place", before)
    page.mouse.move(1, 1)


def report(browser: Browser) -> Image.Image:
    """The beginning of the report of an evaluation, and beside it the worst classes and the worst pictures."""
    width, height = COLUMN
    page = browser.new_page(viewport={"width": width, "height": height})
    sheet = Image.new("RGB", (2 * width + GAP, height), LINE)
    with tempfile.TemporaryDirectory() as folder:
        words = ["eval", "--config-file", "quickstart/cliptrase", "MODEL.DEVICE", "cpu", "OUTPUT_DIR", folder]
        subprocess.run([sys.executable, "-m", "ovss", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        page.goto(f"file://{folder}/inference/scenes_val.html")
        sheet.paste(Image.open(io.BytesIO(page.screenshot())))
        for heading, top in (("worst classes", 0), ("Worst 1", MATRIX)):
            page.get_by_role("heading", name=heading).evaluate("element => element.scrollIntoView()")
            sheet.paste(Image.open(io.BytesIO(page.screenshot())), (width + GAP, top))
    return sheet.resize((SIZE["width"], round(SIZE["width"] * height / (2 * width + GAP))), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
