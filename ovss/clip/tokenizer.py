"""Sentences to token ids: open_clip's byte-pair tokenizer, with errors instead of truncation."""

from collections.abc import Sequence
from itertools import chain

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

# Words whose tokens are remembered, at most.
MOST_WORDS = 100_000


class Tokenizer:
    """CLIP's tokenizer (49,408 ids), or the same over a smaller table of known ids (the embedded tiny model).

    Args:
        context_length: most tokens a sentence may have, both marks included.
        known_ids: ascending ids of the full table; the i-th becomes id i. Order is kept, so that padding stays 0 and
            end-of-text stays the largest.
    """

    def __init__(self, context_length: int = 77, known_ids: Sequence[int] | None = None):
        self.context_length = context_length
        self._bpe = SimpleTokenizer()
        self._ids_of_word: dict[str, list[int]] = {}
        self._compact = None if known_ids is None else {full: index for index, full in enumerate(known_ids)}

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """Tokenise M sentences to ids (M, context_length), padded with 0.

        Raises:
            ValueError: a sentence of more tokens than the context, or with a word that a small table does not know.
        """
        rows = []
        for sentence in sentences:
            tokens = [self._bpe.sot_token_id, *self._encode(sentence), self._bpe.eot_token_id]
            if len(tokens) > self.context_length:
                raise ValueError(
                    f"{sentence!r} has {len(tokens)} tokens, CLIP reads {self.context_length}: use a shorter word"
                )
            rows.append(self._look_up(tokens, sentence))
        ids = torch.zeros(len(rows), self.context_length, dtype=torch.long)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        filled = torch.arange(self.context_length) < lengths[:, None]
        ids[filled] = torch.tensor([*chain.from_iterable(rows)], dtype=torch.long)
        return ids

    def _encode(self, sentence: str) -> list[int]:
        """What open_clip makes of a sentence; of plain text word by word, each word once.

        No token goes across a blank. The repair of broken text may: printable ASCII without "&" needs none.
        """
        if not (sentence.isascii() and sentence.isprintable()) or "&" in sentence:
            return self._bpe.encode(sentence)
        known = self._ids_of_word
        words = sentence.split(" ")
        if len(known) > MOST_WORDS:
            known.clear()
        for word in words:
            if word not in known:
                known[word] = self._bpe.encode(word)
        return [token for word in words for token in known[word]]

    def _look_up(self, tokens: list[int], sentence: str) -> list[int]:
        if self._compact is None:
            return tokens
        unknown = [self._bpe.decode([token]).strip() for token in tokens if token not in self._compact]
        if unknown:
            raise ValueError(
                f"the embedded tiny CLIP does not know {unknown} of {sentence!r}: it has only read about drawn scenes "
                "('red star', 'brick wall', ...). For any words use a full CLIP: MODEL.CLIP.NAME ViT-B/16"
            )
        return [self._compact[token] for token in tokens]
