"""From pictures of any size to what a model takes, and from rows of text to classes. Plain torch; knows no model.

Whole scores are for those who ask for them; evaluation and demos ask for labels, which `ovss.labels` finds without.

Shapes: B batch, T rows of text, K classes, H W pixels.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovss.clip.model import CLIP
from ovss.labels import ROWS_AT_ONCE, resize

FITS = ("pad", "resize")


class DenseModel(nn.Module):
    """The contract of every model of the project; inference, evaluation and demos know nothing else of one.

    Args:
        clip: whose image tower the model uses and whose text embeddings it takes; the model owns it.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    # Every picture is squashed to a square of so many pixels before CLIP; None: it comes as it is.
    resolution: int | None = None

    def __init__(self, clip: CLIP):
        super().__init__()
        self.clip = clip
        self.register_buffer("pixel_mean", torch.tensor(clip.pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(clip.pixel_std).view(3, 1, 1), persistent=False)

    @property
    def size_divisibility(self) -> int:
        """Sides of `images` must be multiples of this many pixels."""
        raise NotImplementedError

    def normalise(self, images: Tensor) -> Tensor:
        """RGB in [0,1] to zero mean and unit deviation."""
        return (images - self.pixel_mean) / self.pixel_std

    def forward(
        self, images: Tensor, text: Tensor, classes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Score every class at every pixel.

        Args:
            images: (B,3,H,W) RGB in [0,1], sides divisible by `size_divisibility`.
            text: (T,P,D) unit text embeddings.
            classes: (T,) class of each row of text, default its own; a class scores as its best row does.
            size: resolution (H',W') of the answer, default (H,W).

        Returns: (B,K,H',W'); the highest score is the label.
        """
        raise NotImplementedError

    @torch.no_grad()
    def labels(
        self, images: Tensor, text: Tensor, classes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Label every pixel: class and score (B,H',W') of the first highest of `forward`'s scores.

        Systems find the same without the scores of all classes at full size.
        """
        score, label = self(images, text, classes, size).max(dim=1)
        return label, score

    def probabilities(self, scores: Tensor) -> Tensor:
        """Scores of classes (K,H,W), as `forward` gives, to values in [0,1].

        By default they are that already: probabilities of independent classes, or shares.
        """
        return scores

    def static_form(self, text: Tensor, classes: Tensor, size: tuple[int, int]) -> nn.Module:
        """A module that answers as `forward` does, of one set of words and of pictures of one size, for a trace.

        It shares the model's tensors, but has no text tower, and takes no step that depends on the pictures' values.

        Args:
            text, classes: see `forward`.
            size: sides (H,W) of the pictures, divisible by `size_divisibility`.

        Returns: images (B,3,H,W), any B -> scores (B,K,H,W), those of `forward` up to rounding.
        """
        raise NotImplementedError

    def logits(self, images: Tensor, text: Tensor) -> Tensor:
        """Logits of independent classes (B,T,h,w), over the whole of images (B,3,H,W) of any size, in [0,1].

        Only for models that have such logits: they can be trained, and be run on a sliding window.
        """
        raise NotImplementedError

    def logit_parts(self, images: Tensor, text: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """As `logits`, a few rows of text at a time: their indices (t,), ascending, and their logits (B,t,h,w).

        Rows may be left out that have the same logits everywhere, if the first of these is there.
        """
        yield torch.arange(len(text), device=text.device), self.logits(images, text)


def merge_rows(scores: Tensor, classes: Tensor | None) -> Tensor:
    """Scores of rows (B,T,H,W) to scores of classes (B,K,H,W): the best row of each class (synonyms, background words).

    `classes` (T,) holds the class of each row, every class 0..K-1 at least once; None: every row is its own class.
    """
    if classes is None or torch.equal(classes.cpu(), torch.arange(scores.shape[1])):
        return scores
    count = int(classes.max()) + 1
    merged = scores.new_full((scores.shape[0], count, *scores.shape[2:]), float("-inf"))
    index = classes.to(scores.device).view(1, -1, 1, 1).expand_as(scores)
    return merged.scatter_reduce_(1, index, scores, "amax")


def resized_classes(scores: Tensor, size: tuple[int, int], classes: Tensor) -> Iterator[Tensor]:
    """Scores (B,k,H,W) at full size of a few classes after the other, from rows (B,T,h,w) that are in class order."""
    for start in range(0, int(classes.max()) + 1, ROWS_AT_ONCE):
        chosen = (classes >= start) & (classes < start + ROWS_AT_ONCE)
        yield merge_rows(resize(scores[:, chosen], size), classes[chosen] - start)


def fit(image: Tensor, divisibility: int, how: str, fill: Tensor) -> Tensor:
    """Make the sides of an image (3,H,W) in [0,1] multiples of `divisibility`.

    "pad" adds `fill` (3,1,1) at the right and bottom. The published codes never remove this border: the answer for
    the padded picture is stretched over the picture, a shift of up to `divisibility - 1` px that their figures contain.
    "resize" stretches to the nearest multiple (antialiased) instead, so that the answer lies where the picture does.
    """
    if how not in FITS:
        raise ValueError(f"unknown way to fit a picture to the patch grid {how!r}; known: {', '.join(FITS)}")
    height, width = image.shape[-2:]
    if how == "pad":
        target = [-(-side // divisibility) * divisibility for side in (height, width)]
        fitted = fill.expand(3, *target).clone()
        fitted[:, :height, :width] = image
        return fitted
    target = [max(round(side / divisibility), 1) * divisibility for side in (height, width)]
    if target == [height, width]:
        return image
    return F.interpolate(image[None], size=target, mode="bilinear", antialias=True)[0].clamp(0, 1)
