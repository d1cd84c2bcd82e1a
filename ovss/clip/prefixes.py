"""Sentences as one tree of tokens, so that a causal tower computes what begins alike once. Plain torch.

What a causal tower makes of a token depends on that token and those before it alone: on a prefix. "a photo of a cat."
and "a photo of a dog." have five prefixes in common, start-of-text among them, and three each of their own.

Shapes: M sentences, L tokens of the longest, U different prefixes (U <= M * L).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixTree:
    """Every prefix that the sentence before it does not have too; all of int64, on one device."""

    tokens: Tensor  # (U,) last token of each prefix
    positions: Tensor  # (U,) and its place in the sentence, from 0
    paths: Tensor  # (M,L) the prefixes of each sentence, shortest first; behind its end they have no meaning
    places: Tensor  # (U,) where each prefix is met first in the flattened paths
    ends: Tensor  # (M,) place of the last token in the sentence

    def to(self, device: torch.device) -> "PrefixTree":
        return PrefixTree(*(value.to(device) for value in vars(self).values()))


def prefix_tree(tokens: Tensor) -> PrefixTree:
    """The tree of sentences (M,L'), each up to its first largest id, end-of-text.

    A sentence is compared with the one before it alone: most is shared where they are sorted.
    """
    ends = tokens.argmax(dim=-1)
    tokens = tokens[:, : int(ends.max()) + 1]
    count, length = tokens.shape
    new = torch.ones_like(tokens)
    new[1:] = (tokens[1:] != tokens[:-1]).long().cummax(dim=-1).values  # from the first difference on
    new = new.bool() & (torch.arange(length, device=tokens.device) <= ends[:, None])
    number = (new.flatten().cumsum(0) - 1).view_as(tokens)
    rows = torch.arange(count, device=tokens.device)[:, None]
    latest = torch.where(new, rows, 0).cummax(dim=0).values  # the sentence that brought the prefix
    places = new.flatten().nonzero().squeeze(-1)
    return PrefixTree(tokens.flatten()[places], places % length, number.gather(0, latest), places, ends)
