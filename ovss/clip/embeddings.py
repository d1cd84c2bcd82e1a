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

# One batch of the text tower reads at most this many tokens: 0.2 GB of activations for ViT-B, whatever the vocabulary.
TOKEN_BUDGET = 16384
# Rows that are encoded before their prompts are averaged away, so that memory does not grow with the vocabulary.
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Sentences:
    """M sentences as the text tower reads them, on the CPU."""

    batches: tuple[Tensor, ...]  # token ids: equal sentences once, those of like length together
    places: Tensor  # (M,) where each sentence is in the batches put together


@dataclass(frozen=True)
class Phrases:
    """Rows of text under P prompts, tokenised: what has to be done only once for a text tower that changes."""

    sentences: Sentences  # of each phrasing, all prompts
    owners: Tensor  # the row that each phrasing belongs to


def tokenize_sentences(tokenizer: Tokenizer, sentences: Sequence[str]) -> Sentences:
    unique = list(dict.fromkeys(sentences))
    tokens = tokenizer(unique)
    lengths = tokens.argmax(dim=-1) + 1
    order = lengths.argsort(stable=True)
    batches = []
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * int(lengths[order[stop]]) <= TOKEN_BUDGET:
            stop += 1
        batches.append(tokens[order[start:stop]])
        start = stop
    place = {sentence: row for row, sentence in enumerate(unique)}
    return Sentences(tuple(batches), order.argsort()[[place[sentence] for sentence in sentences]])


def encode_sentences(clip: CLIP, sentences: Sentences) -> Tensor:
    """Unit embeddings (M,D) of M sentences."""
    features = F.normalize(torch.cat([clip.text(tokens) for tokens in sentences.batches]), dim=-1)
    return features[sentences.places.to(features.device)]


def tokenize_rows(tokenizer: Tokenizer, rows: Sequence[tuple[str, ...]], prompts: Sequence[str]) -> Iterator[Phrases]:
    """T rows of text, each of one phrasing or more, a bounded number of rows at a time."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chunk = rows[start : start + ROWS_AT_ONCE]
        sentences = [prompt.format(phrase) for row in chunk for phrase in row for prompt in prompts]
        owners = torch.tensor([index for index, row in enumerate(chunk) for _ in row])
        yield Phrases(tokenize_sentences(tokenizer, sentences), owners)


def embed_phrases(clip: CLIP, parts: Iterable[Phrases], average: bool) -> Tensor:
    """Unit embeddings of T rows under P prompts; gradients flow where they are enabled.

    A row of several phrasings is, prompt by prompt, the unit mean of its phrasings' unit embeddings. With `average` the
    result is the unit mean over the prompts, (T,1,D) (CLIP, section 3.1.4); else (T,P,D).
    """
    embedded = []
    for part in parts:
        features = encode_sentences(clip, part.sentences).unflatten(0, (len(part.owners), -1))
        rows = int(part.owners[-1]) + 1
        owners = part.owners.to(features.device)
        summed = features.new_zeros(rows, *features.shape[1:]).index_add(0, owners, features)
        unit = F.normalize(summed, dim=-1)
        embedded.append(F.normalize(unit.mean(dim=1, keepdim=True), dim=-1) if average else unit)
    return torch.cat(embedded)


def embed_rows(clip: CLIP, rows: Sequence[tuple[str, ...]], prompts: Sequence[str], average: bool) -> Tensor:
    """`embed_phrases` of words that are read once."""
    return embed_phrases(clip, tokenize_rows(clip.tokenizer, rows, prompts), average)


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
