"""Pictures and words in, segmentations out: what `ovss.load` gives, and what the command line and the demos call.

Knows of the model only Detectron2's convention (a list of dicts in, a list of dicts out). Imports torch.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ovss.cache import key_of
from ovss.images import from_pil, read_image
from ovss.labels import answered_labels, enlarge
from ovss.segmentation import Segmentation
from ovss.vocabulary import Vocabulary, Words

# Scores of all classes at a photo's full size need K*H*W floats (847 classes, 12 megapixels: 40 GB). A segmentor that
# finds labels by way of them is asked, above this many values (1 GiB), for a smaller answer of the same shape, and its
# labels are enlarged. Those of this project do without them, but under test-time augmentation.
MAX_SCORES = 2**28
NO_WORDS = "no words to look for: give a vocabulary (--vocabulary), 'cat, wall' or a class file"

Picture: TypeAlias = np.ndarray | Image.Image | str | os.PathLike


class Predictor:
    """A model that segments pictures of any size with any words; the same for every system.

    May be called from several threads: they take turns at the model, and read and resize pictures side by side. Text
    embeddings of the last vocabularies stay in memory, those of all on disk.

    Args:
        segmentor: a list of dicts with "image" (3, h, w) uint8 RGB, "height", "width", "vocabulary", "file_name"
            and a true "labels_only" -> a list of {"labels", "scores"}, each (height, width), or of Detectron2's
            {"sem_seg": (K, height, width)}; put into evaluation mode by the caller.
        transform: the resize of the test: (H, W, 3) uint8 RGB -> (h, w, 3) uint8 RGB.
        vocabulary: what to look for where a call gives no words.
        identity: makes a key of the config and the weights.
    """

    def __init__(
        self,
        segmentor: Callable[[list[dict]], list[dict]],
        transform: Callable[[np.ndarray], np.ndarray],
        vocabulary: Vocabulary | None = None,
        identity: Callable[[], str] = str,
    ):
        self.segmentor = segmentor
        self.transform = transform
        self.vocabulary = vocabulary
        self.identity = identity
        self._turn = threading.Lock()

    def run_key(self) -> str:
        """A key of all that an answer depends on but the picture: config, weights, and the words of this predictor."""
        return key_of(self.identity(), repr(self.vocabulary))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return getattr(self.segmentor, "device", torch.device("cpu"))

    @overload
    def segment(  # type: ignore[overload-overlap]  # a string is a sequence of strings: the first comes first
        self, images: Picture, words: Words | None = None, *, batch_size: int = 1, probabilities: bool = False
    ) -> Segmentation: ...

    @overload
    def segment(
        self, images: Sequence[Picture], words: Words | None = None, *, batch_size: int = 1, probabilities: bool = False
    ) -> list[Segmentation]: ...

    def segment(
        self,
        images: Picture | Sequence[Picture],
        words: Words | None = None,
        *,
        batch_size: int = 1,
        probabilities: bool = False,
    ) -> Segmentation | list[Segmentation]:
        """Label every pixel of a picture, or of each of a list of pictures of any sizes, with one of the words.

        Args:
            images: a file, an (H, W, 3) uint8 RGB array or a PIL image; or a list of them.
            words: "cat, sofa, wall", a list of words, a class file, a `Vocabulary`; default: those of `ovss.load`.
            batch_size: pictures of a list that go to the model together; those of one shape are one batch.
            probabilities: keep `Segmentation.probabilities` too, 4 bytes for each class and pixel.

        Returns: one `Segmentation`, or a list of them in the order of the pictures.

        Raises:
            ImageError: a file that cannot be read.
            ValueError: no words, words that `Vocabulary.parse` refuses, or an array of another shape or type.
        """
        if isinstance(images, np.ndarray | Image.Image | str | os.PathLike):
            return self._answer([images], self.words(words), probabilities)[0]
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: give at least 1")
        vocabulary, answers = self.words(words), []
        for start in range(0, len(images), batch_size):
            answers += self._answer(images[start : start + batch_size], vocabulary, probabilities)
        return [one if one.file else one.named(f"picture_{index}") for index, one in enumerate(answers)]

    def __call__(self, image: Picture, words: Words | None = None) -> Segmentation:
        """`segment` of a single picture."""
        return self.segment(image, words)

    def logits(self, image: Picture, words: Words | None = None, size: tuple[int, int] | None = None) -> Tensor:
        """Scores (K, H, W) of every class at every pixel, on the model's device; their argmax is the label.

        They are what the system compares: probabilities of independent classes (CAT-Seg), shares of a region's votes
        (CLIPtrase), mean or plain logits (its other variants and the baselines). 4 bytes for each class and pixel.

        Args:
            size: (H, W) of the answer, the picture's own by default; 200 classes of a photo need 10 GB at its own.
        """
        _, request = self._request(image, self.words(words))
        request["height"], request["width"] = size or (request["height"], request["width"])
        return self._run([request])[0]["sem_seg"]

    def _answer(self, images: Sequence[Picture], words: Vocabulary, probabilities: bool) -> list[Segmentation]:
        """The segmentations of pictures that go to the model together."""
        pairs = [self._request(image, words) for image in images]
        for pixels, request in pairs:
            request["labels_only"] = not probabilities
            if not probabilities and not getattr(self.segmentor, "answers_labels", False):
                request["height"], request["width"] = _answer_size(pixels.shape[:2], len(words.classes))
        answers = self._run([request for _, request in pairs])
        return [
            self._segmentation(pixels, request, answer, probabilities)
            for (pixels, request), answer in zip(pairs, answers, strict=True)
        ]

    def _request(self, image: Picture, words: Vocabulary) -> tuple[np.ndarray, dict[str, Any]]:
        """A picture's pixels, and what the segmentor is given."""
        pixels = _pixels(image)
        resized = np.ascontiguousarray(self.transform(pixels).transpose(2, 0, 1))
        file = str(image) if isinstance(image, str | os.PathLike) else ""
        height, width = pixels.shape[:2]
        shown = torch.from_numpy(resized)
        return pixels, {"file_name": file, "image": shown, "vocabulary": words, "height": height, "width": width}

    @torch.no_grad()
    def _run(self, requests: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        with self._turn:
            return self.segmentor(requests)

    def _segmentation(
        self, pixels: np.ndarray, request: dict[str, Any], answer: dict[str, Tensor], probabilities: bool
    ) -> Segmentation:
        answered, size = answered_labels(answer), pixels.shape[:2]
        asked = (request["height"], request["width"])
        assert answered[0].shape == asked, f"unexpected shape {tuple(answered[0].shape)}"
        labels, scores = (enlarge(values, size) for values in answered)
        kept = None
        if probabilities:
            kept = getattr(self.segmentor, "probabilities", _as_they_are)(answer["sem_seg"]).float().cpu().numpy()
        return Segmentation(
            labels=labels.cpu().numpy(),
            scores=scores.float().cpu().numpy(),
            classes=request["vocabulary"].classes,
            image=pixels,
            file=request["file_name"],
            probabilities=kept,
        )

    def words(self, words: Words | None = None) -> Vocabulary:
        """Those of a call, else this predictor's own. Raises ValueError where there are none."""
        if words is not None:
            return Vocabulary.parse(words)
        if self.vocabulary is None:
            raise ValueError(NO_WORDS)
        return self.vocabulary


def _as_they_are(scores: Tensor) -> Tensor:
    return scores


def _pixels(image: Picture) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    if isinstance(image, Image.Image):
        return from_pil(image)
    pixels = image if isinstance(image, np.ndarray) else read_image(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
    return pixels


def _answer_size(size: tuple[int, ...], classes: int) -> tuple[int, int]:
    """The picture's own size where K*H*W fits into MAX_SCORES, else the largest of the same shape that does."""
    height, width = size
    scale = min(1.0, (MAX_SCORES / (classes * height * width)) ** 0.5)
    return max(1, int(height * scale)), max(1, int(width * scale))
