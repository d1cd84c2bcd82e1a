"""The plots of a report, as SVG text. matplotlib without pyplot: no window, no state that outlives a call.

Text stays text, so that every script is written in the fonts of whoever reads it, and colours are variables that follow
the reader's light or dark theme. Equal input gives equal bytes. Scores are in percent.
"""

import io
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

# What stands for a colour of the theme while matplotlib draws: name -> (stand-in, light, dark).
THEME = {
    "ink": ("#010203", "#1f2328", "#e6e8eb"),
    "faint": ("#040506", "#c9ced6", "#474e58"),
    "bar": ("#070809", "#2f6fd0", "#6ea4f5"),
    "mark": ("#0a0b0c", "#b3430b", "#ff9c5a"),
}
INK, FAINT, BAR, MARK = (stand_in for stand_in, _, _ in THEME.values())
FONT_SIZE = 9  # points; the width of a plot is given in points too
WIDEST_NAME = 28  # in columns of text
BINS = 20


def bars(names: Sequence[str], values: Sequence[float]) -> str:
    """One horizontal bar per class, from the top, with its value at its end."""
    label = _room(names)
    with _figure(400, 26 + 15 * len(names), (label, 26, 44, 0)) as (figure, axes):
        axes.barh(np.arange(len(names)), values, height=0.72, color=BAR)
        for place, value in enumerate(values):
            axes.text(value + 1, place, f"{value:.2f}", va="center", color=INK)
        axes.set_yticks(np.arange(len(names)), [_fitted(name) for name in names], color=INK)
        axes.set_ylim(len(names) - 0.5, -0.5)
        _percent_axis(axes, "x")
        return _svg(figure)


def ranking(values: Sequence[float]) -> str:
    """The IoU of all classes, highest first, as one step curve; the line is their mean."""
    with _figure(560, 180, (44, 36, 80, 8)) as (figure, axes):
        edges = np.arange(len(values) + 1)
        axes.stairs(values, edges, fill=True, color=BAR)
        mean = float(np.mean(values))
        axes.axhline(mean, color=MARK, linewidth=1.5)
        axes.text(len(values) * 1.01, mean, f"mean {mean:.2f}", va="center", color=MARK)
        axes.set_xlim(0, len(values))
        axes.set_xlabel("classes in the ground truth, highest IoU first", color=INK)
        axes.set_ylabel("IoU", color=INK)
        _percent_axis(axes, "y")
        return _svg(figure)


def histogram(values: Sequence[float]) -> str:
    """How many pictures have which mIoU, in steps of 5; lines at the mean and at the median."""
    with _figure(560, 200, (50, 36, 16, 22)) as (figure, axes):
        counts, _, _ = axes.hist(values, bins=BINS, range=(0, 100), color=BAR, rwidth=0.92)
        for name, value, style in (("mean", np.mean(values), "-"), ("median", np.median(values), "--")):
            axes.axvline(float(value), color=MARK, linewidth=1.5, linestyle=style, label=f"{name} {value:.2f}")
        axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0, labelcolor=INK)
        axes.set_ylim(0, 1.05 * float(np.max(counts)))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_xlabel("mIoU of a picture over the classes in its ground truth", color=INK)
        axes.set_ylabel("pictures", color=INK)
        _percent_axis(axes, "x")
        return _svg(figure)


def heat_map(rows: Sequence[str], columns: Sequence[str], shares: np.ndarray) -> str:
    """A confusion matrix (rows, columns + 1) in percent, rows = ground truth; the last column is all other classes.

    The cells of what is right are framed.
    """
    above = round(0.75 * _room([*columns, "others"])) + FONT_SIZE
    size = _room(rows) + 27 * (len(columns) + 1) + above, above + 22 * len(rows) + 2
    with _figure(*size, (_room(rows), 2, above, above)) as (figure, axes):
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
        for row, column in np.ndindex(*shares.shape):
            share = float(shares[row, column])
            words = f"{share:.0f}" if share >= 0.5 else "·" if share > 0 else ""
            colour = "white" if share > 55 else "#1f2328"  # on the cell's own colour, in either theme
            axes.text(column, row, words, ha="center", va="center", color=colour)
            if column < len(columns) and columns[column] == rows[row]:
                axes.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor="#b3430b"))
        axes.xaxis.tick_top()
        axes.set_xticks(np.arange(len(columns) + 1), [*(_fitted(name) for name in columns), "others"])
        axes.set_yticks(np.arange(len(rows)), [_fitted(name) for name in rows])
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="left", va="baseline", rotation_mode="anchor")
        axes.tick_params(length=0, labelcolor=INK)
        return _svg(figure)


@contextmanager
def _figure(width: float, height: float, margins: tuple[float, float, float, float]) -> Iterator[tuple[Figure, Axes]]:
    """A figure in points with one set of axes inside margins (left, bottom, right, top), under settings of its own."""
    left, bottom, right, top = margins
    box = left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The fonts that matter are the reader's, not those of this machine.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {"svg.fonttype": "none", "svg.hashsalt": "ovss", "text.parse_math": False, "font.size": FONT_SIZE}
        )
        figure = Figure(figsize=(width / 72, height / 72))
        axes = figure.add_axes(box)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelcolor=INK)
        axes.set_axisbelow(True)
        yield figure, axes


def _percent_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    axes.set(**{f"{which}lim": (0, 100)})
    axes.locator_params(axis=which, nbins=5)
    axes.grid(axis=which, color=FAINT, linewidth=0.8)


def _svg(figure: Figure) -> str:
    """The figure as SVG without date and version, its colours those of the reader's theme."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    light, dark = (";".join(f"--{name}:{colours[index]}" for name, colours in THEME.items()) for index in (1, 2))
    for name, (stand_in, _, _) in THEME.items():
        text = text.replace(f": {stand_in}", f": var(--{name})")
    style = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    start = text.index("<svg")
    inside = text.index(">", start) + 1
    return f"{text[start:inside]}{style}{text[inside:]}"


def _room(names: Sequence[str]) -> int:
    """Points that the longest of the names needs, in a font as wide as they come."""
    return 14 + round(0.62 * FONT_SIZE * max((_columns(_fitted(name)) for name in names), default=0))


def _columns(text: str) -> int:
    """Width of a text where a letter has 1: Chinese, Japanese and Korean signs have 2."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _fitted(name: str) -> str:
    """A name cut to WIDEST_NAME columns."""
    if _columns(name) <= WIDEST_NAME:
        return name
    while _columns(name) >= WIDEST_NAME:
        name = name[:-1]
    return f"{name.rstrip()}…"
