"""From an evaluation on the seam to its report: the examples to keep, and what was run, in words."""

import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovss import __version__
from ovss.d2.api import ENGINE, CfgNode, MetadataCatalog
from ovss.d2.protocol import describe
from ovss.palette import palette
from ovss.report.examples import Example, Examples, shown_example
from ovss.report.findings import Findings
from ovss.results import Evaluation


def keep(examples: Examples, batched_input: dict[str, Any], prediction: Tensor, target: Tensor, score: float) -> None:
    """Keep a picture as the model saw it, where it is among the best or the worst so far.

    Args:
        prediction, target: classes (H,W), as they were scored.
        score: the picture's own mIoU_gt in percent.
    """
    file = batched_input["file_name"]
    if examples.wants(file, score):
        image = batched_input["image"].permute(1, 2, 0)
        arrays = (part.cpu().numpy() for part in (image, prediction, target))
        examples.add(shown_example(file, score, *arrays))


def run_facts(cfg: CfgNode) -> dict[str, str]:
    """What a report says of model, protocol and software, by name. Files are named without their folders."""
    model = {
        "config": cfg.CONFIG_NAME,
        "model": f"{cfg.MODEL.META_ARCHITECTURE}, CLIP {cfg.MODEL.CLIP.NAME}",
        "MODEL.WEIGHTS": PurePath(cfg.MODEL.WEIGHTS).name,
        "MODEL.CLIP.WEIGHTS": PurePath(cfg.MODEL.CLIP.WEIGHTS).name,
    }
    software = {
        "engine": ENGINE,
        "software": f"ovss {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "device": cfg.MODEL.DEVICE,
    }
    return {name: text for name, text in {**model, **describe(cfg), **software}.items() if text}


def report_page(evaluation: Evaluation, facts: Mapping[str, str], kept: Iterable[Iterable[Example]]) -> str:
    """The report of one data set, of this minute, as HTML; `kept` holds the examples of every process."""
    from ovss.report.page import page  # loads matplotlib, which only the main process needs

    metadata = MetadataCatalog.get(evaluation.dataset)
    examples = Examples()
    for example in (example for part in kept for example in part):
        examples.add(example)
    best, worst = examples.best_and_worst()
    findings = Findings(
        dataset=evaluation.dataset,
        date=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        facts=facts,
        scores=evaluation.scores,
        classes=evaluation.classes,
        colours=np.array(metadata.get("stuff_colors", palette(len(evaluation.classes))), dtype=np.uint8),
        counts=evaluation.counts.numpy(),
        IoU=evaluation.per_class.IoU,
        accuracy=evaluation.per_class.accuracy,
        pictures={picture.file: picture.mIoU_gt for picture in evaluation.pictures},
        best=best,
        worst=worst,
        ignore_label=metadata.ignore_label,
    )
    return page(findings)
