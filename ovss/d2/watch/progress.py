"""What a person sees of a training run: a bar in a terminal, and pictures in TensorBoard. tqdm, the seam, drawing."""

import sys
from contextlib import ExitStack
from logging import INFO, LogRecord, getLogger
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ovss.d2.api import HookBase, get_event_storage
from ovss.d2.watch import progress_line
from ovss.visualize import contact_sheet, overlay

# Whose lines would tear the bar, were they not written above it.
_LOGGERS = ("ovss", "fvcore", "detectron2")


def in_terminal() -> bool:
    """Whether there is someone to look at a bar; else progress goes to the log."""
    return sys.stderr.isatty()


class ProgressBar(HookBase):
    """A bar with loss, learning rate, seconds per iteration and time to go.

    The lines of progress, which say the same and more, then go to the log file alone; warnings are shown.
    """

    def __init__(self) -> None:
        self._open = ExitStack()

    def before_train(self) -> None:
        start, end = self.trainer.start_iter, self.trainer.max_iter
        loggers = [getLogger(name) for name in _LOGGERS]
        self._open.enter_context(logging_redirect_tqdm(loggers))
        for handler in (handler for logger in loggers for handler in logger.handlers):
            if getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
                handler.addFilter(_is_no_progress)  # tqdm's own handler, which goes when the bar does
        self._bar = self._open.enter_context(tqdm(initial=start, total=end, unit="it", desc="training"))

    def after_step(self) -> None:
        storage = get_event_storage()
        loss = storage.history("total_loss").median(20)
        self._bar.set_postfix_str(f"loss {loss:.4g}, lr {storage.history('lr').latest():.2e}", refresh=False)
        self._bar.update()

    def after_train(self) -> None:
        self._open.close()


def _is_no_progress(record: LogRecord) -> bool:
    return record.name != progress_line.__name__ or record.levelno > INFO


class SamplePictures(HookBase):
    """Every `period` iterations the first crop of the step, its ground truth and the model's answer, for TensorBoard.

    For the main process. The model answers as at test, its sliding window included.
    """

    def __init__(self, period: int):
        self.period = period

    def after_step(self) -> None:
        if (self.trainer.iter + 1) % self.period == 0:
            loader = self.trainer.data_loader
            crop = loader.dataset[self.trainer.iter * loader.batch_sampler.batch]
            sheet = self._sheet(crop, self._answer(crop))
            get_event_storage().put_image("sample", torch.from_numpy(sheet.transpose(2, 0, 1)))

    def _answer(self, crop: dict[str, Any]) -> np.ndarray:
        """Labels (S,S) of the crop as the model sees it now."""
        model = getattr(self.trainer.model, "module", self.trainer.model)  # without what ties the processes together
        model.eval()
        try:
            with torch.no_grad():
                (answer,) = model([{key: crop[key] for key in ("image", "vocabulary")}])
        finally:
            model.train()
        return answer["sem_seg"].argmax(dim=0).cpu().numpy()

    @staticmethod
    def _sheet(crop: dict[str, Any], answer: np.ndarray) -> np.ndarray:
        image = crop["image"].numpy().transpose(1, 2, 0)
        names, truth = crop["vocabulary"].classes, crop["sem_seg"].numpy()
        unlabelled = next((int(label) for label in np.unique(truth) if not 0 <= label < len(names)), None)
        pictures = [image, overlay(image, truth, names, background=unlabelled), overlay(image, answer, names)]
        return np.array(contact_sheet(pictures, ["crop", "ground truth", "answer"]))
