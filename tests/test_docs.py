"""The website of docs/: built without a warning, every link, anchor and picture of it there, nothing fetched; and the
links of the pages as they lie in the repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from site_pages import Page, is_external, is_well_formed, target

ROOT = Path(__file__).parent.parent
SOURCES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "datasets/README.md",
    ROOT / "benchmarks/RESULTS.md",
    ROOT / "demo/images/ATTRIBUTION.md",
]
BLOCK = re.compile(r"^```.*?^```", re.S | re.M)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site: page files by their address."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr + done.stdout
    return {path: Page(path) for path in folder.rglob("*.html")}, folder


def test_every_page_is_in_the_site(site):
    pages, folder = site
    for source in SOURCES:
        name = source.relative_to(ROOT).with_suffix("")
        place = name.parent if name.name == "README" else name
        assert folder / place / "index.html" in pages


def test_internal_links_and_anchors_lead_somewhere(site):
    pages, folder = site
    count = 0
    for page in pages.values():
        for address in filter(lambda each: not is_external(each), page.links + page.fetched):
            file, anchor = target(page.path, address, folder)
            assert file.is_file(), f"{page.path.relative_to(folder)}: {address}"
            if anchor and file in pages:
                assert anchor in pages[file].anchors, f"{page.path.relative_to(folder)}: {address}"
            count += 1
    assert count > 500


def test_external_links_are_https_and_nothing_is_fetched(site):
    pages, folder = site
    for page in pages.values():
        wrong = [address for address in page.links if is_external(address) and not is_well_formed(address)]
        assert not wrong, page.path.relative_to(folder)
        assert not [address for address in page.fetched if is_external(address)], page.path.relative_to(folder)
    for style in folder.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_pictures_are_shown(site):
    pages, _ = site
    shown = {Path(address).name for page in pages.values() for address in page.fetched}
    assert {path.name for path in (ROOT / "docs/images").iterdir()} <= shown


def test_no_markdown_stays_raw(site):
    """What GitHub draws and mkdocs would print as it is, such as a list without an empty line before it."""
    pages, folder = site
    assert {str(page.path.relative_to(folder)): page.raw for page in pages.values() if page.raw} == {}


def anchors_of(text):
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ +(.+)$", BLOCK.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_the_repository_lead_somewhere(source):
    text = BLOCK.sub("", source.read_text(encoding="utf-8"))
    for address in LINK.findall(text):
        if is_external(address):
            assert is_well_formed(address), address
            continue
        path, _, anchor = address.partition("#")
        file = (source.parent / path).resolve() if path else source
        assert file.exists(), address
        if anchor:
            assert anchor in anchors_of(file.read_text(encoding="utf-8")), address


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_both_renderers_see_the_same(source):
    """No heading without a blank, which mkdocs draws and GitHub does not; no command in a block without a fence."""
    text = BLOCK.sub("", source.read_text(encoding="utf-8"))
    assert not re.findall(r"^#+[^#\s].*", text, re.M)
    assert not re.findall(r"^(?:\t| {4,})(?:ovss|python|pip|make|torchrun) .*", text, re.M)


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("https://github.com/a/b", True),
        ("http://github.com/a/b", False),
        ("https://github/a", False),
        ("https://github.com/a.", False),
        ("https://user@github.com/a", False),
        ("mailto:somebody@example.com", False),
    ],
)
def test_what_a_well_formed_address_is(address, right):
    assert is_well_formed(address) is right


def test_the_checker_finds_what_is_wrong(tmp_path):
    (tmp_path / "page.html").write_text(
        '<h1 id="a">x</h1><a href="other/#b">y</a><img src="https://x.org/p.png"><p>- z</p>'
    )
    page = Page(tmp_path / "page.html")
    assert (page.anchors, page.links, page.fetched, page.raw) == (
        {"a"}, ["other/#b"], ["https://x.org/p.png"], ["- z"],
    )  # fmt: skip
    assert target(page.path, page.links[0], tmp_path) == (tmp_path / "other/index.html", "b")


@pytest.mark.slow
def test_pictures_are_those_of_the_script(tmp_path):
    """docs/make_pictures.py makes the pictures of docs/images, as far as another processor can."""
    import numpy as np
    from PIL import Image

    script = [sys.executable, "docs/make_pictures.py", "--output", str(tmp_path)]
    subprocess.run(script, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == ["own_data.jpg", "tutorial_outputs.jpg", "tutorial_words.jpg"]
    for path in made:
        committed = ROOT / "docs/images" / path.name
        assert committed.stat().st_size <= 200_000
        pair = [np.asarray(Image.open(each), np.float32) for each in (path, committed)]
        assert np.abs(pair[0] - pair[1]).mean() < 3
