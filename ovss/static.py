"""The shared steps in forms that a trace of a model can hold: for words that are known, whatever the pictures.

A trace has no branches and loops that depend on values, and what it does not depend on can be laid out before. Systems
build their static forms (`DenseModel.static_form`) from these. Plain torch; knows no model.

Shapes: B batch, T rows of text, K classes, h w resolution of the model's scores, H W that of the answer.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovss.inference import DenseModel

Model = TypeVar("Model", bound=DenseModel)
Part = TypeVar("Part", bound=nn.Module)


def without_text_tower(model: Model) -> Model:
    """A model that shares all tensors of `model` but has no text tower: where words are embedded, none is needed."""
    light = _shallow(model)
    light.clip = _shallow(model.clip)
    del light.clip.text
    return light


def _shallow(module: Part) -> Part:
    """Another module of the same parts, which may be taken away from it."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other


def resize(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """`ovss.labels.resize` up to rounding, all rows at once."""
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


class Merge(nn.Module):
    """`ovss.inference.merge_rows` for one set of classes: rows along dim 1, (B,T,...) to (B,K,...).

    Classes of equally many rows go together, so that there are few steps, however many classes have synonyms.

    Args:
        classes: (T,) class of each row.
    """

    picked: Tensor
    order: Tensor

    def __init__(self, classes: Tensor):
        super().__init__()
        classes = classes.cpu()
        rows = classes.bincount()
        self.count = len(rows)
        self.plain = torch.equal(classes, torch.arange(len(classes)))
        self.groups: list[tuple[int, int]] = []  # how many classes, and of how many rows each
        picked, members = [], []
        for several in rows.unique().tolist():
            group = (rows == several).nonzero()[:, 0]
            picked += [(classes == member).nonzero()[:, 0] for member in group]
            members.append(group)
            self.groups.append((len(group), several))
        self.register_buffer("picked", torch.cat(picked))
        self.register_buffer("order", torch.cat(members).argsort())

    def forward(self, scores: Tensor) -> Tensor:
        """The best row of each class."""
        if self.plain:
            return scores
        sizes = [classes * rows for classes, rows in self.groups]
        parts = [
            scores.index_select(1, picked).unflatten(1, group).amax(2)
            for picked, group in zip(self.picked.split(sizes), self.groups, strict=True)
        ]
        return torch.cat(parts, dim=1).index_select(1, self.order)
