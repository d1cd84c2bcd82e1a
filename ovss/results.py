"""What an evaluation leaves behind: scores, tables and the row of every picture, as files. Imports metrics and files.

One file that cannot be written costs no other: the rest is written, then the error names it.
"""

import csv
import io
import json
import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

from torch import Tensor

from ovss.files import write_atomic
from ovss.metrics import Scores, per_class_table

logger = logging.getLogger(__name__)
SUMMARY = ("mIoU_gt", "mIoU_union", "pAcc", "mAcc_gt", "mAcc_all", "fwIoU")


@dataclass(frozen=True)
class PictureScores:
    """One picture by itself: scores in percent, nan without labelled pixels, whose number is `pixels`."""

    file: str
    mIoU_gt: float
    pAcc: float
    pixels: int


@dataclass(frozen=True)
class Evaluation:
    """A whole data set: `scores` by name in percent, `per_class`, `counts` (K,K) as in `ovss.metrics.ConfusionMatrix`.

    `pictures` are sorted by file, each once. `protocol` says by name, in words, what the scores depend on.
    """

    dataset: str
    classes: Sequence[str]
    scores: Mapping[str, float]
    per_class: Scores
    counts: Tensor
    pictures: Sequence[PictureScores]
    protocol: Mapping[str, str]


def summarize(
    result: Scores, counts: Tensor, classes: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Scores of the whole set by name: those of `SUMMARY`, mIoU_gt over each group of classes as "mIoU_gt[group]".

    Where the groups are "seen" and "unseen", the harmonic mean of both is "hIoU".
    """
    summary = {name: getattr(result, name) for name in SUMMARY}
    for group, names in groups.items():
        chosen = [index for index, name in enumerate(classes) if name in set(names) and counts[index].sum() > 0]
        mean = sum(result.IoU[index] for index in chosen) / len(chosen) if chosen else math.nan
        summary[f"mIoU_gt[{group}]"] = mean
    if {"seen", "unseen"} <= groups.keys():
        summary["hIoU"] = statistics.harmonic_mean([summary["mIoU_gt[seen]"], summary["mIoU_gt[unseen]"]])
    return summary


def result_texts(evaluation: Evaluation) -> dict[str, Callable[[], str]]:
    """What to write, by what follows the data set's name in the file's."""
    return {
        ".json": lambda: _json(evaluation),
        ".md": lambda: _tables(evaluation),
        ".csv": lambda: _class_rows(evaluation),
        "_pictures.csv": lambda: _picture_rows(evaluation.pictures),
    }


def write_results(
    folder: Path, evaluation: Evaluation, more: Mapping[str, Callable[[], str]] | None = None
) -> list[str]:
    """Write `result_texts` and `more` of the kind into a folder, made where it is missing.

    Returns: every file that could not be written and why, which the log says too; all the others are written.
    """
    failed = []
    for ending, text in {**result_texts(evaluation), **(more or {})}.items():
        path = folder / f"{evaluation.dataset}{ending}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, methodcaller("write", text().encode("utf-8")))
        except Exception as error:
            # The reason of the disk says all; where a text cannot be made, the place in the code is wanted.
            logger.error(f"{path} was not written: {error}", exc_info=not isinstance(error, OSError))
            failed.append(f"{path} ({error or type(error).__name__})")
    return failed


def results_table(
    results: Mapping[str, Mapping[str, float]], protocol: Mapping[str, str], rows: str = "data set"
) -> str:
    """All scores of all `rows` (data sets, methods) as one Markdown table, in percent, and the protocol below it."""
    columns = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = [f"| {rows} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for dataset, row in results.items():
        lines.append(f"| {dataset} | {' | '.join(f'{row[name]:.2f}' if name in row else '-' for name in columns)} |")
    return "\n".join([*lines, "", *(f"- {name}: {text}" for name, text in protocol.items())])


def _tables(evaluation: Evaluation) -> str:
    whole = results_table({evaluation.dataset: evaluation.scores}, evaluation.protocol)
    return f"{whole}\n\n{per_class_table(evaluation.per_class, evaluation.classes)}\n"


def _json(evaluation: Evaluation) -> str:
    content = {
        "dataset": evaluation.dataset,
        "pictures": len(evaluation.pictures),
        "protocol": dict(evaluation.protocol),
        "scores": {name: _defined(value) for name, value in evaluation.scores.items()},
        "classes": list(evaluation.classes),
        "IoU": [_defined(value) for value in evaluation.per_class.IoU],
        "accuracy": [_defined(value) for value in evaluation.per_class.accuracy],
        "confusion": evaluation.counts.tolist(),
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _class_rows(evaluation: Evaluation) -> str:
    columns = (
        evaluation.classes,
        map(_cell, evaluation.per_class.IoU),
        map(_cell, evaluation.per_class.accuracy),
        evaluation.counts.sum(1).tolist(),
        evaluation.counts.sum(0).tolist(),
    )
    return _csv(("class", "IoU", "accuracy", "pixels", "predicted_pixels"), zip(*columns, strict=True))


def _picture_rows(pictures: Sequence[PictureScores]) -> str:
    rows = ((picture.file, _cell(picture.mIoU_gt), _cell(picture.pAcc), picture.pixels) for picture in pictures)
    return _csv(("file", "mIoU_gt", "pAcc", "pixels"), rows)


def _csv(header: Sequence[str], rows) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _defined(value: float) -> float | None:
    """JSON knows no nan."""
    return None if math.isnan(value) else value
