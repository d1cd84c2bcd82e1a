"""Evaluation on the seam, from a config to the table of all its data sets. What scores is `sem_seg_evaluator.py`."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import nn

from ovss.d2.api import CfgNode, DatasetCatalog, build_detection_test_loader, comm, inference_on_dataset
from ovss.d2.augmentation import AugmentedSegmentor, augmented
from ovss.d2.mapper import InputMapper, InputTransform
from ovss.d2.processes.stop import Stopped, sigterm_stops
from ovss.d2.protocol import describe
from ovss.d2.report import run_facts
from ovss.d2.sem_seg_evaluator import SemSegEvaluator
from ovss.files import check_writable
from ovss.predictions import check_stems
from ovss.results import results_table

logger = logging.getLogger(__name__)


class NotWrittenError(Exception):
    """Files of results could not be written; all else is done, and `results` are what `evaluate` returns."""

    def __init__(self, files: Sequence[str], results: dict[str, dict[str, float]]):
        super().__init__(f"not written: {'; '.join(files)}. The scores are in the log, all other files are written")
        self.results = results


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, dict[str, float]]:
    """Evaluate a model on every set of cfg.DATASETS.TEST, in all processes; the main one gets and logs the table.

    Results are in OUTPUT_DIR/inference, or OUTPUT_DIR/inference_TTA under TEST.AUG, which their names then say. What
    was counted before an error or an interrupt is scored and written too, see `SemSegEvaluator.keep_unfinished`.

    Raises:
        NotWrittenError: in all processes, after the last set.
        ValueError: see `build_evaluation`; or a picture or label image that cannot be used.
    """
    model, tests = build_evaluation(cfg, model)
    suffix = f", {model.name}" if isinstance(model, AugmentedSegmentor) else ""
    results = {}
    with sigterm_stops():
        for loader, evaluator in tests:
            try:
                found = inference_on_dataset(model, loader, evaluator)
            except BaseException:
                try:
                    evaluator.keep_unfinished()
                except Stopped:  # SIGTERM, which comes once: it follows the failure of another process
                    evaluator.keep_unfinished()
                raise
            results[f"{evaluator.dataset_name}{suffix}"] = found.get("sem_seg", {})
    if comm.is_main_process():
        logger.info(f"results in {results_folder(cfg)}:\n{results_table(results, describe(cfg))}")
    not_written = [file for _, evaluator in tests for file in evaluator.not_written]
    if not_written := comm.all_gather(not_written)[0]:  # the main process writes
        raise NotWrittenError(not_written, results)
    return results


def build_evaluation(cfg: CfgNode, model: nn.Module) -> tuple[nn.Module, list[tuple[Iterable, SemSegEvaluator]]]:
    """What `evaluate` runs: the model, augmented where TEST.AUG says so, and of every set its loader and evaluator.

    Raises:
        ValueError: a setting of the test that does not exist or does not fit, a data set that is not there, pictures
            whose label pictures would be one file, or a folder of results that nothing can be written to.
    """
    if cfg.TEST.SAVE_LABELS:
        for name in cfg.DATASETS.TEST:
            check_stems(record["file_name"] for record in DatasetCatalog.get(name))
    transform = InputTransform.from_config(cfg, cfg.INPUT.CENTER_CROP_TEST)
    scoring = {
        "void_as_background": cfg.TEST.VOID_AS_BACKGROUND,
        "skip_background_alone": cfg.TEST.SKIP_BACKGROUND_ALONE,
        "epsilon": cfg.TEST.EPSILON,
        "save_labels": cfg.TEST.SAVE_LABELS,
        "save_predictions": cfg.TEST.SAVE_PREDICTIONS,
        "protocol": describe(cfg),
        "facts": run_facts(cfg) if cfg.TEST.REPORT else None,
    }
    tests = [
        (
            build_detection_test_loader(cfg, name, mapper=InputMapper(transform, name)),
            SemSegEvaluator(name, output_dir=str(results_folder(cfg)), **scoring),
        )
        for name in cfg.DATASETS.TEST
    ]
    model = augmented(cfg, model)
    if comm.is_main_process():
        check_writable(results_folder(cfg))
    return model, tests


def results_folder(cfg: CfgNode) -> Path:
    """Where `evaluate` writes."""
    return Path(cfg.OUTPUT_DIR) / ("inference_TTA" if cfg.TEST.AUG.ENABLED else "inference")
