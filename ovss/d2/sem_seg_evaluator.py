"""The evaluator of a data set: answers in, one confusion matrix over all processes and a row for every picture out."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovss.d2.api import DatasetEvaluator, MetadataCatalog, comm
from ovss.d2.processes.stop import stop_if_raised
from ovss.d2.report import keep, report_page
from ovss.datasets.pairs import read_labels, size_mismatch
from ovss.labels import answered_labels
from ovss.metrics import ConfusionMatrix, per_class_table, scores
from ovss.predictions import LabelPictures, segments
from ovss.report.examples import Examples
from ovss.results import Evaluation, PictureScores, summarize, write_results
from ovss.threads import one_thread

logger = logging.getLogger(__name__)
TABLE_ROWS = 60  # more classes than this are shown by the best and the worst in the log; the files hold all


class SemSegEvaluator(DatasetEvaluator):
    """Scores answers, labels or `{"sem_seg": (K,H,W)}`, against label images, in any number of processes.

    Args:
        dataset_name: its metadata gives the classes, the ignore label, perhaps `class_groups` {name: class names}.
            Where these are "seen" and "unseen", the harmonic mean of both mIoU is "hIoU".
        output_dir: where the files of `ovss.results` go, and predictions; empty: nowhere.
        void_as_background: pixels without a label count as the last class, "background", where the data set has one
            and no `label_map` of its own that says what becomes of them.
        skip_background_alone: leave out pictures of which nothing but the class "background" is scored.
        epsilon: see `ovss.metrics.scores`.
        save_labels: write each picture's labels to `<dataset_name>_labels/`, as they come.
        save_predictions: write `<dataset_name>_predictions.json`, see `ovss.predictions.segments`.
        protocol: what the scores depend on, by name, for the files: see `ovss.d2.protocol.describe`.
        facts: what was run, by name, for the report `<dataset_name>.html`; None: no report.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str = "",
        void_as_background: bool = False,
        skip_background_alone: bool = False,
        epsilon: float = 0.0,
        save_labels: bool = False,
        save_predictions: bool = False,
        protocol: Mapping[str, str] | None = None,
        facts: Mapping[str, str] | None = None,
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
        self.save_labels = save_labels and bool(output_dir)
        self.save_predictions = save_predictions and bool(output_dir)
        self.protocol = protocol or {}
        self.facts = facts
        self.category_ids = category_ids(metadata)
        self.reset()

    def reset(self) -> None:
        self.confusion = ConfusionMatrix(len(self.classes))
        self.pictures: dict[str, PictureScores] = {}
        self.label_pictures = LabelPictures(Path(self.output_dir) / f"{self.dataset_name}_labels")
        self.segments: list[dict[str, Any]] = []
        self.examples = Examples()
        self.ended = False
        self.not_written: list[str] = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Tensor]]) -> None:
        """Count a batch. Raises ValueError naming the files: labels of another size, or a value that is no class."""
        stop_if_raised()
        for batched_input, output in zip(inputs, outputs, strict=True):
            prediction, _ = answered_labels(output)
            self._save(prediction, batched_input["file_name"])
            target = self._target(batched_input, prediction)
            if self.skip_background_alone and (target == len(self.classes) - 1).all():
                continue
            try:
                with one_thread():
                    counts = self.confusion.update(prediction, target, self.ignore_label)
            except ValueError as error:
                raise ValueError(f"label image {batched_input['sem_seg_file_name']}: {error}") from error
            score = self._note(batched_input["file_name"], counts)
            if self.facts is not None:
                keep(self.examples, batched_input, prediction, target, score)

    def _save(self, prediction: Tensor, file_name: str) -> None:
        if self.save_labels or self.save_predictions:
            labels = prediction.cpu().numpy()
            if self.save_labels:
                self.label_pictures.write(labels, file_name)
            if self.save_predictions:
                self.segments += segments(labels, file_name, self.category_ids)

    def _target(self, batched_input: dict[str, Any], prediction: Tensor) -> Tensor:
        """True classes (H,W) of a picture, on the device of its prediction."""
        target = batched_input.get("sem_seg")
        if target is None:
            target = torch.from_numpy(read_labels(batched_input["sem_seg_file_name"], self.label_map))
        if target.shape != prediction.shape:
            raise size_mismatch(batched_input, target.shape, prediction.shape)
        target = target.to(prediction.device)
        if self.void_as_background:
            target = target.where(target != self.ignore_label, len(self.classes) - 1)
        return target

    def _note(self, file_name: str, counts: Tensor) -> float:
        """Keep the scores of one picture, from its own counts (K,K); return its mIoU_gt."""
        own = scores(counts, self.epsilon)
        self.pictures[file_name] = PictureScores(file_name, own.mIoU_gt, own.pAcc, int(counts.sum()))
        return own.mIoU_gt

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """Scores in percent under "sem_seg", by the names of `ovss.metrics.Scores`; None but in the main process.

        They are in the log before any file is written. Files that cannot be written are in `not_written`, with the
        reason. What an earlier run left unfinished of this set goes away.
        """
        parts = comm.gather(self._part())  # fails where another process has
        self.ended = True
        if not comm.is_main_process():
            return None
        scores = self._finish(parts, self.output_dir)
        if self.output_dir:
            shutil.rmtree(self._unfinished(), ignore_errors=True)
            with suppress(OSError):  # what is left of other sets stays
                self._unfinished().parent.rmdir()
        return {"sem_seg": scores}

    def keep_unfinished(self) -> None:
        """Score and write what this process alone has counted, for a run that an error or an interrupt ends midway.

        The files go to `unfinished/<dataset_name>/process_<rank>/` below the results.
        """
        if self.ended or not self.output_dir or not self.confusion.counts.any():
            return
        folder = self._unfinished() / f"process_{comm.get_rank()}"
        logger.error(f"{self.dataset_name}: stopped after {len(self.pictures)} pictures; their scores go to {folder}")
        try:
            self._finish([self._part()], str(folder))
        except ValueError as error:  # what ended the run is to be told, not this
            logger.error(str(error))

    def _unfinished(self) -> Path:
        return Path(self.output_dir) / "unfinished" / self.dataset_name

    def _part(self) -> tuple[Tensor, dict[str, PictureScores], list[dict[str, Any]], Any]:
        """What this process has counted."""
        return self.confusion.counts.cpu(), self.pictures, self.segments, self.examples.ranked()

    def _finish(self, parts: Sequence[tuple], output_dir: str) -> dict[str, float]:
        """Score what all `parts` have counted; log it, and write it below `output_dir` unless that is empty."""
        counts = torch.stack([part[0] for part in parts]).sum(0)
        if not counts.sum():
            raise ValueError(f"data set {self.dataset_name!r}: not a single labelled pixel to score")
        result = scores(counts, self.epsilon)
        summary = summarize(result, counts, self.classes, self.groups)
        logger.info(f"{self.dataset_name}, per class:\n{per_class_table(result, self.classes, TABLE_ROWS)}")
        logger.info(f"{self.dataset_name}: {', '.join(f'{name} {value:.2f}' for name, value in summary.items())}")
        pictures = {name: row for part in parts for name, row in part[1].items()}
        rows = [pictures[name] for name in sorted(pictures)]
        if output_dir:
            found = Evaluation(self.dataset_name, self.classes, summary, result, counts, rows, self.protocol)
            more: dict[str, Callable[[], str]] = {}
            if self.save_predictions:
                more["_predictions.json"] = lambda: json.dumps([entry for part in parts for entry in part[2]])
            if self.facts is not None:
                more[".html"] = partial(report_page, found, self.facts, [part[3] for part in parts])
            self.not_written = write_results(Path(output_dir), found, more)
            if self.facts is not None:
                logger.info(f"report: {Path(output_dir) / self.dataset_name}.html")
        return summary


def category_ids(metadata: Any) -> dict[int, int] | None:
    """The data set's own id of each class, where its metadata hold ids; "background", which has none, gets 0."""
    ids = metadata.get("stuff_dataset_id_to_contiguous_id")
    if ids is None:
        return None
    own = {index: category for category, index in ids.items()}
    return {index: own.get(index, 0) for index in range(len(metadata.vocabulary.classes))}
