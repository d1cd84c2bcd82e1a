"""One picture in, one segmentation out: what the command line, the demos and a user's own script call.

Knows of the model only Detectron2's convention (a list of dicts in, a list of dicts out). Imports torch.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ovss.files import write_atomic
from ovss.images import read_image
from ovss.labels import answered_labels
from ovss.visualize import label_png, overlay
from ovss.vocabulary import BACKGROUND, Vocabulary

# Scores of all classes at a photo's full size need K*H*W floats (847 classes, 12 megapixels: 40 GB). A segmentor that
# finds labels by way of them is asked, above this many values (1 GiB), for a smaller answer of the same shape, and its
# labels are enlarged. Those of this project do without them, but under test-time augmentation.
MAX_SCORES = 2**28
NO_WORDS = "no words to look for: give a vocabulary (--vocabulary), 'cat, wall' or a class file"


@dataclass(frozen=True)
class Segmentation:
    """One picture: `labels` (H, W) int64 in [0, K), `scores` (H, W) float32 of the winning class, and the K names."""

    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]

    def areas(self) -> dict[str, float]:
        """Share of the picture's pixels of every class, in the order of `classes`; they sum to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        return {name: int(count) / self.labels.size for name, count in zip(self.classes, counts, strict=True)}

    def overlay(self, image: np.ndarray) -> Image.Image:
        """Draw the labels over the picture (H, W, 3) uint8, with a legend; the merged background stays untinted."""
        background = self.classes.index(BACKGROUND) if BACKGROUND in self.classes else None
        return overlay(image, self.labels, self.classes, background=background)

    def save(self, folder: str | os.PathLike, stem: str, image: np.ndarray, file: str = "") -> None:
        """Write `<stem>_overlay.jpg`, `<stem>_labels.png` (pixel value = class), `<stem>.json` into an existing folder.

        The JSON holds "file" (where the picture came from), "width", "height", "classes" and "areas". It is written
        last: where it is, the pictures are.
        """
        folder = Path(folder)
        height, width = self.labels.shape
        record = {"file": file, "width": width, "height": height, "classes": self.classes, "areas": self.areas()}
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        drawn, exact = self.overlay(image), label_png(self.labels)
        # Full colour resolution: the default of JPEG smears the thin contours.
        write_atomic(folder / f"{stem}_overlay.jpg", lambda out: drawn.save(out, "JPEG", quality=92, subsampling=0))
        write_atomic(folder / f"{stem}_labels.png", lambda out: exact.save(out, "PNG"))
        write_atomic(folder / f"{stem}.json", lambda out: out.write(text.encode("utf-8")))


class Predictor:
    """Segment single pictures with a Detectron2-style model.

    Args:
        segmentor: a list of dicts with "image" (3, h, w) uint8 RGB, "height", "width", "vocabulary", "file_name"
            and a true "labels_only" -> a list of {"labels", "scores"}, each (height, width), or of Detectron2's
            {"sem_seg": (K, height, width)}; put into evaluation mode by the caller.
        transform: the resize of the test: (H, W, 3) uint8 RGB -> (h, w, 3) uint8 RGB.
        vocabulary: what to look for where a call gives no words.
    """

    def __init__(
        self,
        segmentor: Callable[[list[dict]], list[dict]],
        transform: Callable[[np.ndarray], np.ndarray],
        vocabulary: Vocabulary | None = None,
    ):
        self.segmentor = segmentor
        self.transform = transform
        self.vocabulary = vocabulary

    @torch.no_grad()
    def __call__(
        self, image: np.ndarray | str | os.PathLike, vocabulary: Vocabulary | Sequence[str] | str | None = None
    ) -> Segmentation:
        """Label every pixel of a picture, a file or an (H, W, 3) uint8 RGB array, with one of the words.

        Raises:
            ImageError: a file that cannot be read.
            ValueError: no words, words that `Vocabulary.parse` refuses, or an array of another shape or type.
        """
        words = self._words(vocabulary)
        file_name = "" if isinstance(image, np.ndarray) else str(image)
        pixels = image if isinstance(image, np.ndarray) else read_image(image)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
        size = pixels.shape[:2]
        bounded = not getattr(self.segmentor, "answers_labels", False)
        height, width = _answer_size(size, len(words.classes)) if bounded else size
        resized = np.ascontiguousarray(self.transform(pixels).transpose(2, 0, 1))
        request = {"file_name": file_name, "image": torch.from_numpy(resized), "vocabulary": words}
        (answer,) = self.segmentor([{**request, "height": height, "width": width, "labels_only": True}])
        answered = answered_labels(answer)
        assert answered[0].shape == (height, width), f"unexpected shape {tuple(answered[0].shape)}"
        labels, scores = (_enlarge(values, size) for values in answered)
        return Segmentation(labels.cpu().numpy(), scores.float().cpu().numpy(), words.classes)

    def _words(self, vocabulary: Vocabulary | Sequence[str] | str | None) -> Vocabulary:
        if vocabulary is not None:
            return Vocabulary.parse(vocabulary)
        if self.vocabulary is None:
            raise ValueError(NO_WORDS)
        return self.vocabulary


def _answer_size(size: tuple[int, ...], classes: int) -> tuple[int, int]:
    """The picture's own size where K*H*W fits into MAX_SCORES, else the largest of the same shape that does."""
    height, width = size
    scale = min(1.0, (MAX_SCORES / (classes * height * width)) ** 0.5)
    return max(1, int(height * scale)), max(1, int(width * scale))


def _enlarge(values: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Nearest neighbour to `size`: labels must not be mixed, and scores stay those of their labels."""
    if values.shape == size:
        return values
    rows, columns = (
        ((torch.arange(new, device=values.device) + 0.5) * old / new).long()
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[rows[:, None], columns]
