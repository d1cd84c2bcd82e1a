"""One module of a model, its words and the size of its pictures: images to scores and labels. Imports torch.

Knows of the model only the contract of `ovss.inference.DenseModel`. Shapes: B batch, K classes, H W pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ovss.d2.augmentation import AugmentedSegmentor
from ovss.d2.segmentor import Segmentor
from ovss.inference import DenseModel
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary


class FixedModel(nn.Module):
    """Images (B,3,H,W) float32 RGB in [0,1], any B -> scores (B,K,H,W), and labels (B,H,W) int64, their first highest.

    Args:
        model: gives its tensors, which no longer train.
        text, classes, size: see `DenseModel.static_form`.
    """

    def __init__(self, model: DenseModel, text: Tensor, classes: Tensor, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.scorer = model.static_form(text, classes, size)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.scorer(images)
        return scores, scores.max(dim=1).indices


@dataclass(frozen=True)
class Fixed:
    """A fixed model and what it was made of: the segmentor, the words, and these as the model takes them."""

    module: FixedModel
    segmentor: Segmentor
    vocabulary: Vocabulary
    text: Tensor
    classes: Tensor

    @torch.no_grad()
    def expected(self, images: Tensor) -> Tensor:
        """Scores (B,K,H,W) of the model itself."""
        return self.segmentor.model(images, self.text, self.classes, self.module.size)


def fix(predictor: Predictor, size: tuple[int, int] | None = None) -> Fixed:
    """Fix a predictor's model, which is moved to the CPU, to the predictor's words.

    Args:
        size: (H,W); default: the square that the model squashes pictures to, else that of its tests' shorter side.

    Raises:
        ValueError: a model that has no such form, no words, or a size that it does not take.
    """
    segmentor, vocabulary = plain_segmentor(predictor), predictor.words()
    size = fitting_size(predictor, segmentor.model, size)
    with torch.no_grad():
        text, classes = (words.cpu() for words in segmentor.text(vocabulary))
        segmentor.cpu().eval()
        try:
            module = FixedModel(segmentor.model, text, classes, size)
        except NotImplementedError as error:
            raise ValueError(f"{type(segmentor).__name__} has no form that can be exported") from error
    return Fixed(module, segmentor, vocabulary, text, classes)


def plain_segmentor(predictor: Predictor) -> Segmentor:
    """The segmentor of a predictor. Raises ValueError where a file cannot answer as it does."""
    segmentor = predictor.segmentor
    if isinstance(segmentor, AugmentedSegmentor):
        raise ValueError("TEST.AUG.ENABLED True: a file answers by one view of a picture, not by the mean of several")
    if not isinstance(segmentor, Segmentor):
        raise ValueError(f"{type(segmentor).__name__} is no model of this project and cannot be exported")
    if segmentor.precision != "float32":
        raise ValueError(f"TEST.PRECISION {segmentor.precision}: a file computes in float32; leave --dtype out")
    return segmentor


def fitting_size(predictor: Predictor, model: DenseModel, size: tuple[int, int] | None) -> tuple[int, int]:
    """The size (H,W) that was asked for, or the model's own. Raises ValueError for one that it does not take."""
    side = getattr(predictor.transform, "min_size", 0) if model.resolution is None else model.resolution
    size = size or (side, side)
    step = model.size_divisibility
    if min(size) < 1 or any(side % step for side in size):
        near = " ".join(str(max(round(side / step), 1) * step) for side in size)
        raise ValueError(
            f"size {size[0]} x {size[1]} px, but this model takes sides that are multiples of {step} px: --size {near}"
        )
    return size
