"""Findings to one HTML page that stands alone: no file beside it, no request to any network, no script but its own."""

import base64
import hashlib
import html
import re
from importlib import resources

from ovss.report.classes import class_table, confusion, per_class
from ovss.report.findings import Findings
from ovss.report.markup import cell, heading, percent, shown, table, text
from ovss.report.pictures import per_picture

EXPLAINED = {
    "mIoU_gt": "mean IoU over the classes in the ground truth (Detectron2 since July 2022, CLIPtrase)",
    "mIoU_union": "mean IoU over the classes in the ground truth or in a prediction (Detectron2 v0.6)",
    "pAcc": "share of the labelled pixels that are right",
    "mAcc_gt": "mean class accuracy over the classes in the ground truth (Detectron2)",
    "mAcc_all": "mean class accuracy over all classes, absent ones counting 0 (CLIPtrase)",
    "fwIoU": "mean IoU weighted by the share of each class in the ground truth",
    "hIoU": "harmonic mean of mIoU_gt over the seen and over the unseen classes",
}
MAIN_SCORES = ("mIoU_gt", "mIoU_union")
SECTIONS = {
    "scores": "Scores",
    "per-class": "Classes",
    "confusion": "Confusion",
    "pictures": "Pictures",
    "all": "Table",
}


def page(findings: Findings) -> str:
    """The page as text; equal findings give equal text."""
    files = resources.files("ovss.report")
    style, script = (files.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    sections = (_header, _scores, per_class, confusion, per_picture, class_table)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{html.escape(shown(findings.dataset))}: segmentation report</title>
<style>{style}</style>
</head>
<body>
{"".join(section(findings) for section in sections)}
<script>{script}</script>
</body>
</html>
"""


def _header(findings: Findings) -> str:
    present = int((findings.pixels > 0).sum())
    facts = {
        **findings.facts,
        "pictures": f"{len(findings.pictures):,}",
        "classes": f"{len(findings.classes):,}, {present:,} of them in the ground truth",
        "labelled pixels": f"{int(findings.pixels.sum()):,}",
    }
    listed = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>\n" for name, value in facts.items())
    links = "\n".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())
    return (
        f"<header><h1>{text(findings.dataset)}</h1><p>Semantic segmentation, evaluated {text(findings.date)}</p>\n"
        f'<dl>\n{listed}</dl><nav aria-label="Sections">{links}</nav></header>\n'
    )


def _scores(findings: Findings) -> str:
    rows = []
    for name, value in findings.scores.items():
        group = re.fullmatch(r"mIoU_gt\[(.*)\]", name)
        meaning = f"mIoU_gt over the classes of the group {group[1]!r}" if group else EXPLAINED.get(name, "")
        main = " main" if name in MAIN_SCORES else ""
        rows.append(cell(text(name), "name") + cell(percent(value), f"number{main}") + cell(text(meaning)))
    titles = {"score": "", "percent": "number", "what it is": ""}
    return heading("scores", "Scores") + f'<div class="wide scores">{table(titles, rows)}</div>\n'
