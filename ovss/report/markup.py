"""Pieces of HTML: text, numbers, tables, images that are in the page itself. Imports the standard library only.

Names of classes and of files come from strangers: whatever they hold, they are text on the page.
"""

import base64
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence

UNDEFINED = "-"
UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def shown(words: str) -> str:
    """Without what HTML or SVG cannot hold: control signs, and bytes of a file name that are not UTF-8."""
    return UNSHOWABLE.sub("\ufffd", words)


def text(words: str) -> str:
    """A stranger's words as HTML, their direction of writing kept to themselves."""
    escaped = html.escape(shown(words))
    return escaped if words.isascii() else f"<bdi>{escaped}</bdi>"


def percent(value: float) -> str:
    """Two decimals, as in every table of the project."""
    return UNDEFINED if math.isnan(value) else f"{value:.2f}"


def heading(anchor: str, title: str) -> str:
    return f'<h2 id="{anchor}">{title}</h2>\n'


def cell(content: str, kind: str = "") -> str:
    """A cell of a table; the one of kind "name" says what its row is about, those of kind "number" are aligned."""
    if kind == "name":
        return f'<th scope="row">{content}</th>'
    return f'<td class="{kind}">{content}</td>' if kind else f"<td>{content}</td>"


def table(titles: Mapping[str, str], rows: Iterable[str], attributes: str = "") -> str:
    """A table from the titles of its columns, each with its kind, and the cells of its rows."""
    head = "".join(
        f'<th scope="col" class="{kind}">{title}</th>' if kind else f'<th scope="col">{title}</th>'
        for title, kind in titles.items()
    )
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return f"<table{attributes}><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def image(kind: str, data: bytes, alternative: str, size: Sequence[int] = ()) -> str:
    """An image of a MIME type; `alternative` says what it shows, `size` (width, height) is in pixels."""
    sides = f' width="{size[0]}" height="{size[1]}"' if size else ""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return f'<img{sides} src="{source}" alt="{html.escape(shown(alternative))}">'


def plot(svg: str, alternative: str) -> str:
    return f'<figure class="plot">{image("image/svg+xml", svg.encode(), alternative)}</figure>\n'


def swatch(colour: Sequence[int]) -> str:
    """A small square of a colour, three numbers of 0 to 255."""
    return f'<span class="swatch" style="background:#{bytes(colour).hex()}"></span>'
