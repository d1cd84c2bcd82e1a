"""The Detectron2 face of every model: batched inputs in, `sem_seg` or labels out. Words come with the pictures.

A system's `d2.py` subclasses `Segmentor` and builds its parts from cfg; this module reads none, and no data set's name.
"""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ovss.clip.embeddings import TextEmbedder
from ovss.inference import FITS, DenseModel, fit
from ovss.precision import HALVES, half
from ovss.sliding_window import SlidingWindow
from ovss.vocabulary import Vocabulary

VOCABULARIES_KEPT = 8


class Segmentor(nn.Module):
    """Runs a model of the contract (docs/architecture.md) on pictures of any size, for the words that each brings.

    Args:
        model: scores pictures against text embeddings; its CLIP encodes the words.
        prompts: sentences with one `{}`.
        average_prompts: give the model one mean embedding per word instead of one per prompt.
        synonyms: treatment of synonyms, see `Vocabulary.phrases`.
        vocabulary: words for pictures that bring none.
        size_fit: "pad" or "resize", see `ovss.inference.fit`.
        sliding_window: run the model on windows of every picture; it then takes pictures as they are.
        precision: what `segment` computes in, "float32" or a name of `ovss.precision.HALVES`, under autocast.

    Raises:
        ValueError: an unknown `size_fit` or `precision`.
    """

    answers_labels = True  # what "labels_only" asks for needs no memory for the scores of all classes at full size

    def __init__(
        self,
        *,
        model: DenseModel,
        prompts: Sequence[str],
        average_prompts: bool,
        synonyms: str,
        vocabulary: Vocabulary | None = None,
        size_fit: str = "pad",
        sliding_window: SlidingWindow | None = None,
        precision: str = "float32",
    ):
        super().__init__()
        if size_fit not in FITS:
            raise ValueError(f"unknown INPUT.SIZE_FIT {size_fit!r}; known: {', '.join(FITS)}")
        if precision != "float32" and precision not in HALVES:
            raise ValueError(f"unknown TEST.PRECISION {precision!r}; known: float32, {', '.join(HALVES)}")
        self.model = model
        self.prompts = tuple(prompts)
        self.average_prompts = average_prompts
        self.synonyms = synonyms
        self.vocabulary = vocabulary
        self.size_fit = size_fit
        self.sliding_window = sliding_window
        self.precision = precision
        self._embedder: TextEmbedder | None = None
        self._text_changes = False
        self._text: OrderedDict[Vocabulary, tuple[Tensor, Tensor]] = OrderedDict()

    @property
    def device(self) -> torch.device:
        """Where the model is and pictures are moved to."""
        return self.model.pixel_mean.device

    @property
    def text_trains(self) -> bool:
        """Whether an optimizer may change the text tower."""
        return any(parameter.requires_grad for parameter in self.model.clip.text.parameters())

    def train(self, mode: bool = True) -> "Segmentor":
        """Training may change the text tower: what was encoded before is dropped, what comes is not kept on disk."""
        if mode:
            self._text_changes = self.text_trains
            self._embedder = None
            self._text.clear()
        return super().train(mode)

    def text(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        """Embeddings (T,P,D) of a vocabulary's rows and their classes (T,); the last few vocabularies are kept."""
        if vocabulary not in self._text:
            if self._embedder is None:
                self._embedder = TextEmbedder(self.model.clip, on_disk=not self._text_changes)
            rows, classes = vocabulary.phrases(self.synonyms)
            with torch.autocast(self.device.type, enabled=False):  # they are kept, also for who computes in float32
                embeddings = self._embedder(rows, self.prompts, self.average_prompts)
            self._text[vocabulary] = embeddings.to(self.device), torch.tensor(classes, device=self.device)
            while len(self._text) > VOCABULARIES_KEPT:
                self._text.popitem(last=False)
        self._text.move_to_end(vocabulary)
        return self._text[vocabulary]

    def words_of(self, batched_input: dict[str, Any]) -> Vocabulary:
        vocabulary = batched_input.get("vocabulary", self.vocabulary)
        if vocabulary is None:
            raise ValueError(
                "no words to look for: give each input a 'vocabulary', or set MODEL.VOCABULARY 'cat, wall'"
            )
        return vocabulary

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Detectron2's convention: `losses` in training, else `segment`."""
        return self.losses(batched_inputs) if self.training else self.segment(batched_inputs)

    def losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Losses by name, for a model that can be trained."""
        raise RuntimeError(f"{type(self).__name__} is training-free: there is nothing to train; use --eval-only")

    def loss_weight(self, batched_inputs: list[dict[str, Any]]) -> float:
        """How many things the losses of these crops are means over: the weight of their gradient in a larger batch.

        Crops by default; a model whose losses are means over anything else says over how much.
        """
        return float(len(batched_inputs))

    @torch.no_grad()
    def segment(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Segment a list of Detectron2 inputs; those of one shape and one vocabulary run as one batch.

        Returns: one `{"sem_seg": (K, height, width)}` each, in order; no result depends on the rest of the list. An
            input with a true "labels_only" gets `{"labels", "scores"}` instead, each (height, width): the class with
            the highest score, of equals the first, and that score.
        """
        images = [self.prepare(batched_input["image"]) for batched_input in batched_inputs]
        groups: dict[tuple, list[int]] = {}
        for index, (image, batched_input) in enumerate(zip(images, batched_inputs, strict=True)):
            size = batched_input.get("height", image.shape[-2]), batched_input.get("width", image.shape[-1])
            labels_only = bool(batched_input.get("labels_only"))
            groups.setdefault((self.words_of(batched_input), tuple(image.shape), size, labels_only), []).append(index)
        results: list[dict[str, Tensor]] = [{} for _ in images]
        for (vocabulary, _, size, labels_only), members in groups.items():
            request = torch.stack([images[index] for index in members]), *self.text(vocabulary), size
            with self.autocast():
                if labels_only:
                    answers = dict(zip(("labels", "scores"), self.label(*request), strict=True))
                else:
                    answers = {"sem_seg": self.score(*request)}
            for name, values in answers.items():
                for index, value in zip(members, values, strict=True):
                    results[index][name] = value
        return results

    def probabilities(self, scores: Tensor) -> Tensor:
        """`DenseModel.probabilities` of a "sem_seg" (K,height,width)."""
        return self.model.probabilities(scores)

    def autocast(self) -> AbstractContextManager:
        """What `segment` computes under: nothing for float32, so that a caller's own autocast holds."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, half(self.precision, "TEST.PRECISION", self.device))

    def score(self, images: Tensor, text: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
        """`DenseModel.forward`, or the same by windows."""
        if self.sliding_window is None:
            return self.model(images, text, classes, size)
        return self.sliding_window(self.model, images, text, classes, size)

    def label(self, images: Tensor, text: Tensor, classes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """`DenseModel.labels`, or the same by windows."""
        if self.sliding_window is None:
            return self.model.labels(images, text, classes, size)
        return self.sliding_window.labels(self.model, images, text, classes, size)

    def prepare(self, image: Tensor) -> Tensor:
        """uint8 (3,H,W) RGB to [0,1] on the device, sides fitted to what the model takes."""
        image = image.to(self.device).float() / 255
        if self.sliding_window is not None:
            return image
        return fit(image, self.model.size_divisibility, self.size_fit, self.model.pixel_mean)
