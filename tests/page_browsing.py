"""What a user of the web page does, for tests in a browser."""

import numpy as np
from page_pictures import png
from playwright.sync_api import Locator, Page, expect


def upload(page: Page, name: str, content: bytes) -> None:
    """Give the page a file."""
    page.locator("#file input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def segment(page: Page, words: list[str], picture: np.ndarray | None = None, name: str = "my scene.png") -> None:
    """Give a picture and words, press the button, wait for the answer."""
    if picture is not None:
        upload(page, name, png(picture))
        expect(page.locator("#preview figcaption")).to_contain_text(name)
    before = page.locator("#viewer [data-run]").get_attribute("data-run") if has_run(page) else ""
    page.locator("#words textarea").fill(", ".join(words))
    page.locator("#segment").click()
    page.wait_for_function(
        "before => ![undefined, before].includes(document.querySelector('#viewer [data-run]')?.dataset.run)", arg=before
    )


def has_run(page: Page) -> bool:
    """Whether it shows results."""
    return page.locator("#viewer [data-run]").count() > 0


def point_at(picture: Locator, x: float, y: float) -> None:
    """Move the mouse to a place of a picture, fractions of it, once nothing is in front of it."""
    box = picture.bounding_box()
    picture.hover(position={"x": x * box["width"], "y": y * box["height"]})


def clear_places(scores: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Pixels (row, column) spread over a picture whose first class is clearly ahead of the second; scores (K,H,W)."""
    first, second = np.sort(scores, axis=0)[[-1, -2]]
    rows, columns = np.nonzero(first - second > 0.05)
    chosen = np.linspace(0, len(rows) - 1, count).astype(int)
    return [(int(rows[index]), int(columns[index])) for index in chosen]
