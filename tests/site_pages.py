"""What the pages of a built website hold: links, anchors, what a browser would fetch, and Markdown that stayed raw."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


@dataclass
class Page(HTMLParser):
    """One HTML file; every list holds addresses as they are written."""

    path: Path
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    raw: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.inside: list[str] = []
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.inside.append(tag)
        if values.get("id"):
            self.anchors.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        is_fetched = tag != "link" or values.get("rel") in ("stylesheet", "icon", "preload")
        if values.get(FETCHED.get(tag, "")) and is_fetched:
            self.fetched.append(values[FETCHED[tag]])

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if "p" in self.inside and "code" not in self.inside:
            starts = ("- ", "* ", "|", "#", "```", "1. ")
            self.raw += [line for line in data.splitlines() if line.startswith(starts)]


def is_external(address: str) -> bool:
    """Whether an address names a scheme or a host."""
    parts = urlsplit(address)
    return bool(parts.scheme or parts.netloc)


def is_well_formed(address: str) -> bool:
    """https, a host with a dot in it, no blank, no dot or bracket at the end that belongs to the sentence."""
    parts = urlsplit(address)
    host_is_right = "." in parts.netloc.strip(".") and parts.port is None and not parts.username
    return parts.scheme == "https" and host_is_right and " " not in address and address[-1] not in ".,;)>"


def target(page: Path, address: str, root: Path) -> tuple[Path, str]:
    """The file that an internal address leads to from a page, and its anchor ("": none)."""
    parts = urlsplit(address)
    path = unquote(parts.path)
    file = root / path.lstrip("/") if path.startswith("/") else page.parent / path
    if not path:
        file = page
    elif path.endswith("/") or file.is_dir():
        file = file / "index.html"
    return file.resolve(), unquote(parts.fragment)
