"""torch.compile of the aggregator: the same numbers, in training and at test, and a word where there is no compiler."""

import re

import pytest
import torch
from cat_seg_parts import small_model
from test_checkpointing import ALL, crops, segmentor
from torch._dynamo.utils import counters

from cat_seg.d2 import CATSeg
from cat_seg.training import require_compiler, set_checkpointed
from ovss.vocabulary import Vocabulary


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "g++ -O2", ""])
def test_no_compiler(compiler, monkeypatch):
    """None of that name, one that fails, one with options, none at all: torch takes none of them."""
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(ValueError, match=rf"needs a C\+\+ compiler, and '{re.escape(compiler)}' does not run: install"):
        require_compiler("cpu")


def test_no_compiler_of_a_gpu(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs Triton on a GPU"):
        require_compiler("cuda")


def compiled(model):
    parts = {"prompts": ["a {} in the scene"], "average_prompts": False, "synonyms": "first"}
    return CATSeg(model=model, ignore_label=255, ignored_as_negative=True, compiled=True, **parts)


def test_a_compiled_model_needs_a_compiler(small_clip, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    model = compiled(small_model(small_clip))
    assert [*model.state_dict()] == [*segmentor(small_model(small_clip)).state_dict()]
    for mode in (True, False):
        with pytest.raises(ValueError, match="needs a C"):
            model.train(mode)


@pytest.mark.slow
def test_the_same_gradients(small_clip):
    """With checkpoints too; and what is tested afterwards, with any number of words, is that of the plain model."""
    plain = segmentor(small_model(small_clip))
    plain(crops(2))["loss_sem_seg"].backward()
    for parts in ((), ALL):
        model = compiled(small_model(small_clip)).train()
        model.load_state_dict(plain.state_dict())
        for (name, value), (_, other) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
            assert value.requires_grad_(other.requires_grad) is value, name
        set_checkpointed(model.model, parts)
        model(crops(2))["loss_sem_seg"].backward()
        found = dict(model.named_parameters())
        for name, value in plain.named_parameters():
            if value.grad is not None:
                torch.testing.assert_close(found[name].grad, value.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert counters["stats"]["unique_graphs"] > 0
    model.eval(), plain.eval()
    plain.load_state_dict(model.state_dict())
    for words in ("cat, wall, sea", ", ".join(f"word {index}" for index in range(20))):
        picture = [{"image": crops(1)[0]["image"], "vocabulary": Vocabulary.parse(words)}]
        torch.testing.assert_close(model(picture)[0]["sem_seg"], plain(picture)[0]["sem_seg"], rtol=1e-4, atol=1e-5)
