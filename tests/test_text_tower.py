"""ovss/clip/{text,prefixes}.py: what sentences share is computed once, and neither numbers nor gradients change."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ovss.clip.prefixes import prefix_tree
from ovss.clip.transformer import QuickGELU

END = 9


def sentences(*rows, length=6):
    return torch.tensor([[*row, END, *[0] * (length - len(row) - 1)] for row in rows])


def test_tree_by_hand():
    tree = prefix_tree(sentences([1, 2, 3], [1, 2, 4], [1, 2], [5]))
    # 1, 1 2, 1 2 3, 1 2 3 END; then what is new: 1 2 4, 1 2 4 END; 1 2 END; 5, 5 END.
    assert tree.tokens.tolist() == [1, 2, 3, END, 4, END, END, 5, END]
    assert tree.positions.tolist() == [0, 1, 2, 3, 2, 3, 2, 0, 1]
    assert tree.ends.tolist() == [3, 3, 2, 1]
    paths = [path[: end + 1] for path, end in zip(tree.paths.tolist(), tree.ends.tolist(), strict=True)]
    assert paths == [[0, 1, 2, 3], [0, 1, 4, 5], [0, 1, 6], [7, 8]]


@given(st.lists(st.lists(st.integers(1, 3), max_size=5), min_size=1, max_size=8))
def test_paths_spell_the_sentences(rows):
    tree = prefix_tree(sentences(*rows))
    for row, path, end in zip(rows, tree.paths, tree.ends, strict=True):
        assert tree.tokens[path[: end + 1]].tolist() == [*row, END]
        assert tree.positions[path[: end + 1]].tolist() == [*range(len(row) + 1)]
    assert torch.equal(tree.paths.flatten()[tree.places], torch.arange(len(tree.tokens)))
    ordered = prefix_tree(sentences(*sorted(rows)))
    distinct = {tuple([*row, END][:stop]) for row in rows for stop in range(1, len(row) + 2)}
    assert len(ordered.tokens) >= len(distinct)
    if len({len(row) for row in rows}) == 1:
        assert len(ordered.tokens) == len(distinct)


def whole_tower(tower, tokens):
    """CLIP's text tower as published: every token of every sentence in every block, then the end-of-text token's."""
    x = tower.token_embedding(tokens) + tower.positional_embedding
    for block in tower.resblocks:
        x = block(x, causal=True)
    x = tower.ln_final(x)[torch.arange(len(x)), tokens.argmax(dim=-1)]
    return x @ tower.text_projection


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ["a photo of a cat", "a photo of a red dog", "a photo of a red dog in the rain", "dog", "a photo of a cat"],
        ["a", ""],
        ["a long word of many tokens"],
    ],
)
def test_numbers_and_gradients_of_the_whole_tower(small_clip, words, checkpointed):
    tokens = small_clip.tokenizer(words)
    found, expected = copy.deepcopy(small_clip.text), copy.deepcopy(small_clip.text)
    found.checkpointed = checkpointed
    weights = torch.randn(len(words), 24, generator=torch.Generator().manual_seed(0))
    for tower, answer in ((found, found(tokens)), (expected, whole_tower(expected, tokens))):
        tower.answer = answer.detach()
        (answer * weights).sum().backward()
    torch.testing.assert_close(found.answer, expected.answer)
    for (name, value), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(value.grad, other.grad, msg=name, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(found(tokens), expected.answer)


def test_what_sentences_share_is_computed_once(small_clip):
    rows = []
    handle = small_clip.text.resblocks[0].mlp.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    last = small_clip.text.resblocks[-1].mlp.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    small_clip.text(small_clip.tokenizer([f"a photo of a {word}" for word in ("cat", "dog", "hat")]))
    handle.remove()
    last.remove()
    assert rows == [5 + 3 * 2, 3]  # start, "a photo of a", then a word and an end each; of the last block the ends


def test_quick_gelu():
    x = torch.linspace(-12, 12, 101, dtype=torch.float64).requires_grad_()
    expected = x * torch.sigmoid(1.702 * x)
    found = QuickGELU()(x * 1)
    torch.testing.assert_close(found, expected)
    slopes = (torch.autograd.grad(answer.sum(), x)[0] for answer in (found, expected))
    torch.testing.assert_close(*slopes)
    with torch.no_grad():
        torch.testing.assert_close(QuickGELU()(x * 1), expected)
        torch.testing.assert_close(QuickGELU()(x.float()), F.silu(1.702 * x.float()) / 1.702)
