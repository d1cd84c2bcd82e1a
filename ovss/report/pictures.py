"""What a report says of the pictures: how their scores are distributed, and the best and the worst of them."""

import math
from pathlib import PurePath

from ovss.report import plots
from ovss.report.classes import name
from ovss.report.examples import Example
from ovss.report.findings import Findings
from ovss.report.markup import heading, image, percent, plot, text
from ovss.report.panels import contents, jpeg, panels

LISTED = 12  # classes below an example


def per_picture(findings: Findings) -> str:
    values = [value for value in findings.pictures.values() if not math.isnan(value)]
    unlabelled = len(findings.pictures) - len(values)
    left_out = f" Without a labelled pixel, and left out: {unlabelled:,}." if unlabelled else ""
    shown = [(f"Best {rank}", example) for rank, example in enumerate(findings.best, start=1)]
    shown += [(f"Worst {rank}", example) for rank, example in enumerate(findings.worst, start=1)]
    return (
        heading("pictures", "Pictures")
        + f"<p>Each picture's mIoU over the classes in its own ground truth. Pictures: {len(values):,}.{left_out}</p>"
        + plot(plots.histogram(values), f"Distribution of the mIoU of {len(values)} pictures")
        + "<p>Below a picture: its classes, each with its share in the ground truth → in the prediction. Among the "
        "errors wrong pixels are red and those without a label dark.</p>\n"
        + "".join(_example(findings, example, title) for title, example in shown)
    )


def _example(findings: Findings, example: Example, title: str) -> str:
    file = "/".join(PurePath(example.file).parts[-2:])  # what lies above says where somebody keeps the data
    listed = contents(example, len(findings.classes), findings.ignore_label)
    drawn = panels(example, findings.classes, findings.colours, findings.ignore_label)
    figures = "".join(
        f"<figure>{image('image/jpeg', jpeg(picture), f'{caption} of {file}', picture.size)}"
        f"<figcaption>{caption}</figcaption></figure>\n"
        for caption, picture in drawn.items()
    )
    items = [f"{name(findings, index)} {true:.1f} → {given:.1f} %" for index, true, given in listed[:LISTED]]
    items += [f"and {len(listed) - LISTED} more"] if len(listed) > LISTED else []
    return (
        f"<article><h3>{title}: {text(file)}, mIoU {percent(example.score)}</h3>\n"
        f'<div class="panels">{figures}</div>'
        f'<ul class="contents">{"".join(f"<li>{item}</li>" for item in items)}</ul></article>\n'
    )
