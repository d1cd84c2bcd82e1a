"""Run a model over a loader, hand inputs and answers to evaluators, time it, log the scores. Imports torch, tqdm."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from ovss.d2.lite import comm

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 5


class DatasetEvaluator:
    """Collects over a data set: `reset`, then `process` for every batch, then `evaluate`."""

    def reset(self) -> None:
        """Forget everything processed so far."""

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Take in a batch and the model's answers to it."""

    def evaluate(self) -> dict | None:
        """Return {task: {metric: score}}; processes other than the main one may return None."""
        return None


class DatasetEvaluators(DatasetEvaluator):
    """Several evaluators as one; their tasks must differ."""

    def __init__(self, evaluators: list[DatasetEvaluator]):
        self.evaluators = evaluators

    def reset(self) -> None:
        for evaluator in self.evaluators:
            evaluator.reset()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for evaluator in self.evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self) -> dict:
        results: dict = {}
        for evaluator in self.evaluators:
            result = evaluator.evaluate() or {}
            if comm.is_main_process():
                twice = set(result) & set(results)
                if twice:
                    raise ValueError(f"two evaluators give results of the same task: {sorted(twice)}")
                results.update(result)
        return results


def inference_on_dataset(
    model: Callable | nn.Module,
    data_loader: Any,
    evaluator: DatasetEvaluator | list[DatasetEvaluator] | None,
) -> dict:
    """Run `model` in eval mode, without gradients, over this process's share; return what the evaluator returns, or {}.

    `data_loader` has a length. Progress: a bar where stderr is a terminal, else a log line every few seconds. The log
    ends with the time per batch.
    """
    if evaluator is None or isinstance(evaluator, list):
        evaluator = DatasetEvaluators(evaluator or [])
    evaluator.reset()
    total = len(data_loader)
    logger.info(f"inference on {total} batches")
    model_seconds = 0.0
    start = time.perf_counter()
    with _evaluating(model), torch.no_grad():
        for inputs in _with_progress(data_loader, total):
            before = time.perf_counter()
            outputs = model(inputs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            model_seconds += time.perf_counter() - before
            evaluator.process(inputs, outputs)
    seconds = time.perf_counter() - start
    logger.info(
        f"inference took {seconds:.1f} s for {total} batches on each of {comm.get_world_size()} processes: "
        f"{seconds / max(total, 1):.4f} s per batch, {model_seconds / max(total, 1):.4f} s of it in the model"
    )
    return evaluator.evaluate() or {}


def _with_progress(batches: Iterable, total: int) -> Iterator:
    """Yield the batches and show how far they are."""
    if sys.stderr.isatty():
        yield from tqdm(batches, total=total, unit="batch", disable=not comm.is_main_process())
        return
    start = last = time.perf_counter()
    for done, batch in enumerate(batches):
        now = time.perf_counter()
        if done and now - last > _SECONDS_BETWEEN_LINES:
            last = now
            logger.info(f"inference: {done} of {total} batches, {(now - start) / done * (total - done):.0f} s to go")
        yield batch


@contextmanager
def _evaluating(model: Callable | nn.Module) -> Iterator[None]:
    """Put a module in eval mode and back, also after an error; anything else that can be called is left alone."""
    if not isinstance(model, nn.Module):
        yield
        return
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
