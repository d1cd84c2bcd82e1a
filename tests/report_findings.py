"""Findings for tests of the report: made from seeded label images, scored by the project's own metrics."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ovss.metrics import ConfusionMatrix, scores
from ovss.palette import palette
from ovss.report.examples import Examples, shown_example
from ovss.report.findings import Findings
from ovss.results import SUMMARY

IGNORE = 255


def labels_and_answers(classes: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (target, prediction) of label images in blocks, about half of the blocks right, one corner unlabelled."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        target = generator.integers(0, classes, (6, 8))
        answer = np.where(generator.random((6, 8)) < 0.5, target, generator.integers(0, classes, (6, 8)))
        target, answer = (np.kron(part, np.ones((8, 8), np.int64)) for part in (target, answer))
        target[:4, :4] = IGNORE if classes <= IGNORE else 65535
        yield target, answer


def made_findings(
    names: Sequence[str], pairs: Sequence[tuple[np.ndarray, np.ndarray]], files: Sequence[str] = ()
) -> Findings:
    """The findings that an evaluation of these (target, prediction) pairs has; pictures are flat grey."""
    ignore_label = IGNORE if len(names) <= IGNORE else 65535
    whole, examples, pictures = ConfusionMatrix(len(names)), Examples(), {}
    for index, (target, answer) in enumerate(pairs):
        own = ConfusionMatrix(len(names))
        own.update(torch.from_numpy(answer), torch.from_numpy(target), ignore_label)
        whole = whole + own
        file = files[index] if files else f"data/images/{index:03d}.jpg"
        pictures[file] = scores(own.counts).mIoU_gt
        image = np.full((*target.shape, 3), 60 + 10 * (index % 16), np.uint8)
        examples.add(shown_example(file, pictures[file], image, answer, target))
    result = scores(whole.counts)
    best, worst = examples.best_and_worst()
    return Findings(
        dataset="made_val",
        date="2026-01-02 03:04 UTC",
        facts={"Model": "CLIPtrase, ViT-B/16", "Prompts": "80"},
        scores={name: getattr(result, name) for name in SUMMARY},
        classes=list(names),
        colours=palette(len(names)),
        counts=whole.counts.numpy(),
        IoU=result.IoU,
        accuracy=result.accuracy,
        pictures=pictures,
        best=best,
        worst=worst,
        ignore_label=ignore_label,
    )
