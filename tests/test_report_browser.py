"""The report in a real browser, where one is installed: images decode, the table sorts, no network is asked."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from report_findings import labels_and_answers, made_findings

from ovss.report.page import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome in the path")
NAMES = ["sky", "<script>document.title = 'broken'</script>", "猫", "wall", "absent"]
# What the test asks the page. The page's own policy would not let a script of a stranger run: this copy has none.
PROBE = """<script>
window.addEventListener("load", () => {
  const rows = document.querySelector("#classes tbody").rows;
  const column = (index) => Array.from(rows, (row) => row.cells[index].textContent);
  const headings = document.querySelectorAll("#classes thead th");
  const press = (index) => {
    headings[index].querySelector("button").click();
    return [headings[index].getAttribute("aria-sort"), column(index)];
  };
  const images = Array.from(document.images, (image) => [image.complete, image.naturalWidth, image.naturalHeight]);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const results = {images, wide, first: press(2), second: press(2), name: press(1), pixels: press(4),
                   buttons: document.querySelectorAll("#classes button").length, title: document.title};
  document.body.dataset.results = JSON.stringify(results);
});
</script></body>"""


@pytest.fixture(scope="module")
def text():
    pairs = [
        (np.where(target == 4, 3, target), np.where(answer == 4, 3, answer))
        for target, answer in labels_and_answers(5, 9)
    ]
    return page(made_findings(NAMES, pairs))


def browse(tmp_path, text: str, *options: str) -> subprocess.CompletedProcess:
    """Load a page without a window; what it says on its console is in the answer's stderr."""
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    quiet = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run")
    command = [BROWSER, "--headless", "--no-sandbox", *quiet, f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=3000", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=120)


def said(done: subprocess.CompletedProcess) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_console_is_silent_and_refuses_strangers(tmp_path, text):
    assert not said(browse(tmp_path, text, "--dump-dom"))
    for foreign in ('<img src="http://127.0.0.1:9/a.png" alt="a">', "<script>document.title = 'broken'</script>"):
        done = browse(tmp_path, text.replace("</body>", f"{foreign}</body>"), "--dump-dom")
        assert "Content Security Policy" in "".join(said(done)), "the check would notice"
        assert "<title>made_val: segmentation report</title>" in done.stdout


@pytest.mark.parametrize("width", [1200, 420])
def test_images_and_sorting(tmp_path, text, width):
    free = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", PROBE)
    done = browse(tmp_path, free, "--dump-dom", f"--window-size={width},900")
    assert not said(done)
    results = json.loads(html.unescape(re.search(r'data-results="([^"]*)"', done.stdout)[1]))
    assert len(results["images"]) == 3 + 4 * 8
    assert all(complete and width > 0 and height > 0 for complete, width, height in results["images"])
    assert results["wide"] == 0, "the page itself is never scrolled sideways"
    assert results["buttons"] == 6
    assert results["title"] == "made_val: segmentation report"
    orders = {}
    for order, key in (("descending", "first"), ("ascending", "second")):
        sort, column = results[key]
        assert sort == order
        assert column[-1] == "-", "what has no value comes last either way"
        orders[order] = [float(value) for value in column[:-1]]
    assert orders["descending"] == sorted(orders["ascending"], reverse=True)
    assert len(set(orders["ascending"])) > 1
    assert set(results["name"][1]) == set(NAMES)
    assert results["name"][1][1:4] == ["absent", "sky", "wall"], "letters, after signs and before other scripts"
    pixels = [int(value.replace(",", "")) for value in results["pixels"][1]]
    assert pixels == sorted(pixels, reverse=True)


@pytest.mark.parametrize(("scheme", "dark"), [(0, True), (1, False)])
def test_light_and_dark(tmp_path, text, scheme, dark):
    shot = tmp_path / "shot.png"
    browse(tmp_path, text, f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}")
    with Image.open(shot) as picture:
        values = np.asarray(picture.convert("L"))
    assert (values[2, 2] < 40) == dark
    assert (np.median(values) < 40) == dark
