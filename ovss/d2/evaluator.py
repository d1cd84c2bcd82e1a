"""Evaluation on the seam: one confusion matrix over all processes, scores by name, files whole or not at all."""

import json
import logging
import math
import statistics
from collections.abc import Iterable, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovss.d2.api import (
    CfgNode,
    DatasetEvaluator,
    MetadataCatalog,
    build_detection_test_loader,
    comm,
    inference_on_dataset,
)
from ovss.d2.augmentation import AugmentedSegmentor, augmented
from ovss.d2.mapper import InputMapper, InputTransform
from ovss.d2.protocol import as_text, describe
from ovss.datasets.pairs import read_labels, size_mismatch
from ovss.files import write_atomic
from ovss.metrics import ConfusionMatrix, Scores, per_class_table, scores

logger = logging.getLogger(__name__)
SUMMARY = ("mIoU_gt", "mIoU_union", "pAcc", "mAcc_gt", "mAcc_all", "fwIoU")


class SemSegEvaluator(DatasetEvaluator):
    """Scores `{"sem_seg": (K,H,W)}` answers against label images, in any number of processes.

    Args:
        dataset_name: its metadata gives the classes, the ignore label, perhaps `class_groups` {name: class names}.
            Where these are "seen" and "unseen", the harmonic mean of both mIoU is "hIoU".
        output_dir: where `<dataset_name>.json` and `.md` go; empty: nowhere.
        void_as_background: pixels without a label count as the last class, "background", where the data set has one
            and no `label_map` of its own that says what becomes of them.
        skip_background_alone: leave out pictures of which nothing but the class "background" is scored.
        epsilon: see `ovss.metrics.scores`.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str = "",
        void_as_background: bool = False,
        skip_background_alone: bool = False,
        epsilon: float = 0.0,
    ):
        metadata = MetadataCatalog.get(dataset_name)
        has_background = bool(metadata.vocabulary.background)
        settled = metadata.ignore_label in dict(metadata.get("label_map", ()))
        self.dataset_name = dataset_name
        self.classes: Sequence[str] = metadata.vocabulary.classes
        self.groups: dict[str, Sequence[str]] = metadata.get("class_groups", {})
        self.ignore_label = metadata.ignore_label
        self.label_map = metadata.get("label_map", ())
        self.output_dir = output_dir
        self.void_as_background = void_as_background and has_background and not settled
        self.skip_background_alone = skip_background_alone and has_background
        self.epsilon = epsilon
        self.reset()

    def reset(self) -> None:
        self.confusion = ConfusionMatrix(len(self.classes))

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Tensor]]) -> None:
        """Count a batch. Raises ValueError naming the files: labels of another size, or a value that is no class."""
        for batched_input, output in zip(inputs, outputs, strict=True):
            prediction = output["sem_seg"].argmax(dim=0)
            target = batched_input.get("sem_seg")
            if target is None:
                target = torch.from_numpy(read_labels(batched_input["sem_seg_file_name"], self.label_map))
            if target.shape != prediction.shape:
                raise size_mismatch(batched_input, target.shape, prediction.shape)
            if self.void_as_background:
                target = target.where(target != self.ignore_label, len(self.classes) - 1)
            if self.skip_background_alone and (target == len(self.classes) - 1).all():
                continue
            try:
                self.confusion.update(prediction, target.to(prediction.device), self.ignore_label)
            except ValueError as error:
                raise ValueError(f"label image {batched_input['sem_seg_file_name']}: {error}") from error

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """Scores in percent under "sem_seg", by the names of `ovss.metrics.Scores`; None but in the main process."""
        parts = comm.gather(self.confusion.counts.cpu())
        if not comm.is_main_process():
            return None
        counts = torch.stack(parts).sum(0)
        if not counts.sum():
            raise ValueError(f"data set {self.dataset_name!r}: not a single labelled pixel to score")
        result = scores(counts, self.epsilon)
        summary = {name: getattr(result, name) for name in SUMMARY}
        summary |= {f"mIoU_gt[{group}]": self._mean_iou(result, counts, names) for group, names in self.groups.items()}
        if {"seen", "unseen"} <= self.groups.keys():
            summary["hIoU"] = statistics.harmonic_mean([summary["mIoU_gt[seen]"], summary["mIoU_gt[unseen]"]])
        table = per_class_table(result, self.classes)
        logger.info(f"{self.dataset_name}, per class:\n{table}")
        if self.output_dir:
            self._write(summary, result, counts, table)
        return {"sem_seg": summary}

    def _mean_iou(self, result: Scores, counts: Tensor, names: Sequence[str]) -> float:
        """mIoU_gt over the named classes."""
        chosen = [index for index, name in enumerate(self.classes) if name in set(names) and counts[index].sum() > 0]
        return sum(result.IoU[index] for index in chosen) / len(chosen) if chosen else math.nan

    def _write(self, summary: dict[str, float], result: Scores, counts: Tensor, table: str) -> None:
        folder = Path(self.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "dataset": self.dataset_name,
            "scores": summary,
            "classes": list(self.classes),
            "IoU": [None if math.isnan(value) else value for value in result.IoU],
            "accuracy": [None if math.isnan(value) else value for value in result.accuracy],
            "confusion": counts.tolist(),
        }
        for suffix, text in ((".json", json.dumps(content)), (".md", table)):
            data = f"{text}\n".encode()
            write_atomic(folder / f"{self.dataset_name}{suffix}", methodcaller("write", data))


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, dict[str, float]]:
    """Evaluate a model on every set of cfg.DATASETS.TEST, in all processes; the main one gets and logs the table.

    Results are in OUTPUT_DIR/inference, or OUTPUT_DIR/inference_TTA under TEST.AUG, which their names then say.
    """
    model, tests = build_evaluation(cfg, model)
    suffix = f", {model.name}" if isinstance(model, AugmentedSegmentor) else ""
    results = {
        f"{evaluator.dataset_name}{suffix}": inference_on_dataset(model, loader, evaluator).get("sem_seg", {})
        for loader, evaluator in tests
    }
    if comm.is_main_process():
        logger.info(f"results in {results_folder(cfg)}:\n{results_table(results, describe(cfg))}")
    return results


def build_evaluation(cfg: CfgNode, model: nn.Module) -> tuple[nn.Module, list[tuple[Iterable, SemSegEvaluator]]]:
    """What `evaluate` runs: the model, augmented where TEST.AUG says so, and of every set its loader and evaluator.

    Raises:
        ValueError: a setting of the test that does not exist or does not fit, or a data set that is not there.
    """
    transform = InputTransform.from_config(cfg, cfg.INPUT.CENTER_CROP_TEST)
    scoring = {
        "void_as_background": cfg.TEST.VOID_AS_BACKGROUND,
        "skip_background_alone": cfg.TEST.SKIP_BACKGROUND_ALONE,
        "epsilon": cfg.TEST.EPSILON,
    }
    tests = [
        (
            build_detection_test_loader(cfg, name, mapper=InputMapper(transform, name)),
            SemSegEvaluator(name, output_dir=str(results_folder(cfg)), **scoring),
        )
        for name in cfg.DATASETS.TEST
    ]
    return augmented(cfg, model), tests


def results_folder(cfg: CfgNode) -> Path:
    """Where `evaluate` writes."""
    return Path(cfg.OUTPUT_DIR) / ("inference_TTA" if cfg.TEST.AUG.ENABLED else "inference")


def results_table(results: dict[str, dict[str, float]], protocol: dict[str, str], rows: str = "data set") -> str:
    """All scores of all `rows` (data sets, methods) as one Markdown table, in percent, and the protocol below it."""
    columns = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = [f"| {rows} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for dataset, row in results.items():
        lines.append(f"| {dataset} | {' | '.join(f'{row[name]:.2f}' if name in row else '-' for name in columns)} |")
    return "\n".join([*lines, "", as_text(protocol)])
