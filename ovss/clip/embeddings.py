"""Prompts x words to unit text embeddings (T,P,D): de-duplicated, batched within a token budget, cached on disk.

Shapes: T rows of text (each one phrase, or several synonyms to average), P prompts, D embedding width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss.cache import cached_tensor, fingerprint, key_of
from ovss.clip.model import CLIP
from ovss.clip.tokenizer import Tokenizer

# Tokens, beginnings that sentences share counted in each, that the text tower takes at once: on a CPU what stays in its
# cache between two steps, on a GPU what fills it (2 GB of activations for ViT-B).
CPU_TOKENS, DEVICE_TOKENS = 4096, 1 << 17
# Sentences that are encoded before their prompts are averaged away, so that memory does not grow with the vocabulary.
SENTENCES_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Sentences:
    """M sentences as the text tower reads them, on the CPU."""

    tokens: Tensor  # (U,L) ids of the U different ones: those of equal length together, in alphabetical order
    places: Tensor  # (M,) where each sentence is among them


@dataclass(frozen=True)
class Phrases:
    """Rows of text under P prompts, tokenised: what has to be done only once for a text tower that changes."""

    sentences: Sentences  # of each phrasing, all prompts
    owners: Tensor  # the row that each phrasing belongs to


def tokenize_sentences(tokenizer: Tokenizer, sentences: Sequence[str]) -> Sentences:
    unique = sorted(set(sentences))  # so that those that begin alike are neighbours
    tokens = tokenizer(unique)
    order = tokens.argmax(dim=-1).argsort(stable=True)
    place = {sentence: row for row, sentence in enumerate(unique)}
    return Sentences(tokens[order], order.argsort()[[place[sentence] for sentence in sentences]])


def batches(tokens: Tensor, budget: int) -> Iterator[Tensor]:
    """Sentences (U,L), short ones first, in turn, of as many tokens as the budget allows, but at least one."""
    lengths = (tokens.argmax(dim=-1) + 1).tolist()
    start = 0
    while start < len(lengths):
        stop = start + 1
        while stop < len(lengths) and (stop + 1 - start) * lengths[stop] <= budget:
            stop += 1
        yield tokens[start:stop]
        start = stop


def encode_sentences(clip: CLIP, sentences: Sentences) -> Tensor:
    """Unit embeddings (M,D) of M sentences."""
    device = clip.logit_scale.device
    budget = CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS
    features = torch.cat([clip.text(tokens) for tokens in batches(sentences.tokens, budget)])
    return F.normalize(features, dim=-1)[sentences.places.to(device)]


def tokenize_rows(tokenizer: Tokenizer, rows: Sequence[tuple[str, ...]], prompts: Sequence[str]) -> Iterator[Phrases]:
    """T rows of text, each of one phrasing or more, a bounded number of rows at a time."""
    rows_at_once = max(1, SENTENCES_AT_ONCE // len(prompts))
    for start in range(0, len(rows), rows_at_once):
        chunk = rows[start : start + rows_at_once]
        sentences = [prompt.format(phrase) for row in chunk for phrase in row for prompt in prompts]
        owners = torch.tensor([index for index, row in enumerate(chunk) for _ in row])
        yield Phrases(tokenize_sentences(tokenizer, sentences), owners)


def embed_part(clip: CLIP, part: Phrases, average: bool) -> Tensor:
    """`embed_phrases` of a bounded number of rows."""
    features = encode_sentences(clip, part.sentences).unflatten(0, (len(part.owners), -1))
    rows = int(part.owners[-1]) + 1
    owners = part.owners.to(features.device)
    summed = features.new_zeros(rows, *features.shape[1:]).index_add(0, owners, features)
    unit = F.normalize(summed, dim=-1)
    return F.normalize(unit.mean(dim=1, keepdim=True), dim=-1) if average else unit


def embed_phrases(clip: CLIP, parts: Iterable[Phrases], average: bool) -> Tensor:
    """Unit embeddings of T rows under P prompts; gradients flow where they are enabled.

    A row of several phrasings is, prompt by prompt, the unit mean of its phrasings' unit embeddings. With `average` the
    result is the unit mean over the prompts, (T,1,D) (CLIP, section 3.1.4); else (T,P,D).
    """
    return torch.cat([embed_part(clip, part, average) for part in parts])


def embed_rows(clip: CLIP, rows: Sequence[tuple[str, ...]], prompts: Sequence[str], average: bool) -> Tensor:
    """`embed_phrases` of words that are read once.

    The answer is laid out before what it takes to find it: small tensors that stay among large ones that go would keep
    the allocator from using the room of these again.
    """
    projection = clip.text.text_projection
    embedded = projection.new_empty(len(rows), 1 if average else len(prompts), projection.shape[1])
    start = 0
    for part in tokenize_rows(clip.tokenizer, rows, prompts):
        found = embed_part(clip, part, average)
        embedded[start : start + len(found)] = found
        start += len(found)
    return embedded


class TextEmbedder:
    """`embed_rows` without gradients, remembered on disk under the text tower's weights, the prompts and the words.

    The tower's fingerprint is taken once: after training it, make a new embedder. With `on_disk` False nothing is
    remembered: the values of a tower between two steps of its training never come back.
    """

    def __init__(self, clip: CLIP, *, on_disk: bool = True):
        self._clip = clip
        self._fingerprint = fingerprint(clip.text) if on_disk else ""

    @torch.no_grad()
    def __call__(self, rows: Sequence[tuple[str, ...]], prompts: Sequence[str], average: bool) -> Tensor:
        """(T,P,D), or (T,1,D) with `average`, on the device of the CLIP."""
        if not self._fingerprint:
            return embed_rows(self._clip, rows, prompts, average)
        key = key_of(self._fingerprint, str(average), repr(tuple(prompts)), repr(tuple(rows)))
        stored = cached_tensor("text", key, lambda: embed_rows(self._clip, rows, prompts, average))
        return stored.to(self._clip.logit_scale.device)
