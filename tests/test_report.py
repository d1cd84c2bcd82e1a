"""The report page: its figures are the scores, strangers' names stay text, nothing is loaded from elsewhere."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_findings import labels_and_answers, made_findings

from ovss.report.page import EXPLAINED, page
from ovss.results import SUMMARY

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the cells of every table, and whether every tag is closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def by_hand():
    """Two pictures of 4 x 8 px and three classes of which the third is in no ground truth.

    The first has 16 px of class 0, all right, and 16 of class 1, of which 4 are taken for 0 and 4 for 2. The second is
    class 0 alone, 24 px right and 8 taken for 1. IoU: 40 / 52, 8 / 24, 0 / 4.
    """
    first, second = np.zeros((4, 8), np.int64), np.zeros((4, 8), np.int64)
    first[:, 4:] = 1
    answer, other = first.copy(), second.copy()
    answer[0, 4:], answer[1, 4:] = 0, 2
    other[:, 6:] = 1
    return made_findings(["cat", "wall", "sky"], [(first, answer), (second, other)], ["d/x/a.jpg", "d/x/b.jpg"])


def test_figures_by_hand(by_hand):
    found = Page(page(by_hand))
    assert not found.open
    scores, worst, classes = found.tables
    assert {row[0]: row[1] for row in scores[1:]} == {
        "mIoU_gt": "55.13",
        "mIoU_union": "36.75",
        "pAcc": "75.00",
        "mAcc_gt": "66.67",
        "mAcc_all": "44.44",
        "fwIoU": "66.03",
    }
    assert classes == [
        ["no.", "class", "IoU", "accuracy", "true pixels", "predicted pixels", "taken for, % of its pixels"],
        ["0", "cat", "76.92", "83.33", "48", "44", "wall 16.7"],
        ["1", "wall", "33.33", "50.00", "16", "16", "cat 25.0, sky 25.0"],
        ["2", "sky", "0.00", "-", "0", "4", ""],
    ]
    assert [row[:3] for row in worst[1:]] == [["wall", "33.33", "50.00"], ["cat", "76.92", "83.33"]]
    # Own mIoU: (16 / 20 + 8 / 16) / 2 of the first, 24 / 32 of the second.
    assert "Best 1: x/b.jpg, mIoU 75.00" in found.text
    assert "Worst 1: x/a.jpg, mIoU 65.00" in found.text
    assert "cat 50.0 → 62.5 %" in found.text


def test_every_score_of_the_evaluator_is_explained(by_hand):
    assert set(SUMMARY) <= EXPLAINED.keys()
    found = Page(page(replace(by_hand, scores={**by_hand.scores, "mIoU_gt[seen]": 12.345, "hIoU": float("nan")})))
    rows = {row[0]: row[1:] for row in found.tables[0][1:]}
    assert rows["mIoU_gt[seen]"] == ["12.35", "mIoU_gt over the classes of the group 'seen'"]
    assert rows["hIoU"][0] == "-"
    assert all(row[1] for row in rows.values())


def test_header_says_what_was_run(by_hand):
    found = Page(page(by_hand))
    assert "evaluated 2026-01-02 03:04 UTC" in found.text
    for words in ("CLIPtrase, ViT-B/16", "3, 2 of them in the ground truth"):
        assert words in found.text


NAMES = {
    "script": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "entity": "&lt;b&gt; 'quoted'",
    "mathematics": r"$\frac{1}{0}$ and $",
    "chinese": "猫",
    "arabic": "قطة",
    "cyrillic": "кошка",
    "long": "word " * 60,
    "placeholder": "{findings} $name %s #010203",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_text(name):
    pairs = list(labels_and_answers(3, 2))
    file = f"data/{name.replace('/', '_')}.jpg"
    findings = made_findings([name, f"{name} 2", "wall"], pairs, [file, "data/1.jpg"])
    found = Page(page(replace(findings, dataset=name, facts={"Model": name})))
    plain = Page(page(replace(made_findings(["a", "b", "wall"], pairs), facts={"Model": "m"})))
    assert [tag for tag, _ in found.tags if tag != "bdi"] == [tag for tag, _ in plain.tags]
    assert {key for _, attributes in found.tags for key in attributes} == {
        key for _, attributes in plain.tags for key in attributes
    }
    assert [row[1] for row in found.tables[-1][1:]] == [name, f"{name} 2", "wall"]
    assert name in found.text.split("Scores")[0]
    assert any(name.replace("/", "_") in attributes["alt"] for attributes in found.of("img"))


def test_signs_that_cannot_be_shown():
    findings = made_findings(["a\x00b\x1b", "c"], list(labels_and_answers(2, 1)), ["data/\udcff.jpg"])
    text = page(findings)
    assert text.encode("utf-8").decode() == text
    assert Page(text).tables[-1][1][1] == "a\ufffdb\ufffd"
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def test_nothing_is_loaded_from_elsewhere(by_hand):
    text = page(by_hand)
    found = Page(text)
    images = found.of("img")
    assert images
    for attributes in images:
        kind, data = re.fullmatch(r"data:(image/[a-z+]+);base64,([\w+/=]+)", attributes["src"]).groups()
        content = base64.b64decode(data)
        assert content[:2] == b"\xff\xd8" if kind == "image/jpeg" else b"<svg " in content[:200]
        assert attributes["alt"]
        if kind != "image/jpeg":
            links = re.findall(r'(?:https?:)?//[^"\s]+', content.decode())
            assert all(link.startswith("http://www.w3.org/") for link in links), "the names of SVG's own parts"
    assert "//" not in re.sub(r'src="data:[^"]+"|<script>.*</script>|sha256-[^\']+', "", text, flags=re.DOTALL)
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in found.tags}
    policy = next(item["content"] for item in found.of("meta") if "http-equiv" in item)
    assert policy.startswith("default-src 'none'")


def test_headings_of_tables_and_anchors(by_hand):
    found = Page(page(by_hand))
    assert all(attributes.get("scope") in ("row", "col") for attributes in found.of("th"))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in found.of("a")} <= set(ids)
    assert found.of("html") == [{"lang": "en"}]


@pytest.mark.parametrize(("classes", "pictures"), [(1, 1), (1, 3), (2, 1), (40, 7), (847, 20)])
def test_every_size(classes, pictures):
    findings = made_findings(
        [f"class {index}" for index in range(classes)], list(labels_and_answers(classes, pictures))
    )
    text = page(findings)
    found = Page(text)
    assert len(found.tables[-1]) == classes + 1
    assert found.text.count("Best ") == min(4, (pictures + 1) // 2)
    assert found.text.count("Worst ") == min(4, pictures // 2)
    assert len(text) < 2_000_000


def test_pictures_without_a_score_are_left_out():
    pairs = list(labels_and_answers(3, 3))
    pairs[1][0][:] = 255
    found = Page(page(made_findings(["a", "b", "c"], pairs)))
    assert "Pictures: 2. Without a labelled pixel, and left out: 1." in found.text
    assert "images/001.jpg" not in found.text


def test_equal_findings_give_equal_pages(by_hand):
    assert page(by_hand) == page(by_hand)
