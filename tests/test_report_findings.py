"""What a report derives from counts, by hand; plots and panels that show it."""

import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from report_findings import IGNORE, labels_and_answers, made_findings

from ovss.report import plots
from ovss.report.examples import Example
from ovss.report.markup import shown, text
from ovss.report.panels import MOST_BYTES, contents, errors, jpeg, panels

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def findings():
    """One row of pixels: 0 is right 6 times and taken for 2 twice; 1 is right once, 0 once and 2 twice; 3 never is."""
    target = np.array([[0] * 8 + [1] * 4])
    answer = np.array([[0] * 6 + [2] * 2 + [0, 2, 2, 1]])
    return made_findings(["a", "b", "c", "d"], [(target, answer)])


def test_ranked_taken_for_and_confusion(findings):
    assert findings.ranked() == [0, 1]
    assert findings.taken_for(0) == [(2, 25.0)]
    assert findings.taken_for(1) == [(2, 50.0), (0, 25.0)]
    assert findings.taken_for(1, most=1) == [(2, 50.0)]
    assert findings.given_to([1, 0], 3) == [1, 0, 2]
    assert findings.given_to([1, 0], 2) == [0, 2], "b itself is given on average to 12.5 % of the pixels, c to 37.5 %"
    assert findings.confusion([1, 0], [1, 0]).tolist() == [[25, 25, 50], [0, 75, 25]]


def test_equal_classes_rank_by_pixels():
    target = np.array([[0, 0, 1, 1, 1, 2]])
    made = made_findings(["a", "b", "c", "d"], [(target, np.full_like(target, 3))])
    assert made.ranked() == [2, 0, 1], "all 0: at the end the class with most pixels"


def test_rows_of_the_confusion_add_up_to_100():
    made = made_findings([f"{index}" for index in range(30)], list(labels_and_answers(30, 5)))
    rows = made.ranked()[-15:]
    np.testing.assert_allclose(made.confusion(rows, made.given_to(rows, 15)).sum(axis=1), 100)


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def widths(svg: str) -> list[float]:
    """Of the bars: closed paths in the colour of bars."""
    found = []
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if "fill: var(--bar)" in path.get("style", ""):
            x = [float(number) for number in re.findall(r"[ML] (\S+)", path.get("d", ""))]
            found.append(max(x) - min(x))
    return found


def test_bars_are_as_long_as_their_values():
    svg = plots.bars(["猫", "<b>", "$x^2$"], [80, 20, 0])
    assert {"猫", "<b>", "$x^2$", "80.00", "20.00", "0.00"} <= set(words(svg))
    long, short, none = widths(svg)
    assert long / short == pytest.approx(4, rel=1e-3)
    assert none == 0


def test_histogram_counts_pictures():
    svg = plots.histogram([2, 3, 52, 100])
    assert {"mean 39.25", "median 27.50"} <= set(words(svg))
    assert len(widths(svg)) == plots.BINS


def test_plots_are_equal_and_leave_no_settings():
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn = [plots.heat_map(["a", "b"], ["b", "c"], np.array([[50, 0.2, 49.8], [0, 60, 40]])) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert dict(matplotlib.rcParams) == before
    assert {"50", "·", "60", "40", "others"} <= set(words(drawn[0]))
    assert "#010203" not in drawn[0]
    assert not re.search(r"matplotlib v|\d{4}-\d\d-\d\d", drawn[0])


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(), max_size=40))
@example("\ud800 \x00 \ufffe \u202e $ < & ]]>")
def test_any_name_can_be_drawn_and_written(name):
    """SVG is parsed strictly, and one sign too many would cost the whole picture."""
    assert words(plots.bars([shown(name)], [50]))
    assert unescape(re.sub("</?bdi>", "", text(name))) == shown(name)
    text(name).encode("utf-8")


def test_long_names_are_cut():
    for name in ("word " * 20, "長" * 40):
        assert any(word.endswith("…") and word != name for word in words(plots.bars([name], [1])))


@pytest.fixture
def four_columns():
    """4 x 2 px: right, wrong, unlabelled, right in the columns."""
    target = np.array([[0, 1, IGNORE, 2]] * 2)
    answer = np.array([[0, 2, 1, 2]] * 2)
    return Example("a", 50.0, np.full((2, 4, 3), 100, np.uint8), answer, target)


def test_panels(four_columns):
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    drawn = panels(four_columns, ["a", "b", "c"], colours, IGNORE)
    assert list(drawn) == ["Picture", "Ground truth", "Prediction", "Errors"]
    assert {picture.size for picture in drawn.values()} == {(512, 256)}
    columns = {name: [picture.getpixel((64 + 128 * k, 128)) for k in range(4)] for name, picture in drawn.items()}
    assert columns["Picture"] == [(100, 100, 100)] * 4
    tinted = [(160, 40, 40), (40, 160, 40), (40, 40, 160)]
    assert columns["Ground truth"] == [tinted[0], tinted[1], (100, 100, 100), tinted[2]]
    assert columns["Prediction"] == [tinted[0], tinted[2], tinted[1], tinted[2]]
    right, wrong, unlabelled, last = columns["Errors"]
    assert right == last == (178, 178, 178)
    assert wrong[0] > 200 > 100 > wrong[1]
    assert max(unlabelled) < 100


def test_errors_and_contents(four_columns):
    assert errors(four_columns, IGNORE)[0].tolist() == [0, 1, 2, 0]
    assert contents(four_columns, 3, IGNORE) == [(2, 25.0, 50.0), (0, 25.0, 25.0), (1, 25.0, 25.0)]
    labels = replace(four_columns, target=np.where(four_columns.target == IGNORE, 0, four_columns.target))
    assert contents(labels, 3, 0) == [(2, 25.0, 50.0), (0, 0.0, 25.0), (1, 25.0, 25.0)], "a value may be left out"


def test_jpeg_of_a_noisy_picture_is_bounded():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    assert len(jpeg(Image.fromarray(noise))) <= MOST_BYTES
