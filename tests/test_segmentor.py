"""The Detectron2 face: batches of mixed shapes and words, remembered text, refusals."""

import copy

import numpy as np
import pytest
import torch

from cliptrase.model import CLIPtrase, Regions
from ovss.d2.segmentor import VOCABULARIES_KEPT, Segmentor
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.parse("cat, wall, sea")


@pytest.fixture
def segmentor(small_clip):
    model = CLIPtrase(clip=small_clip, regions=Regions(eps=1.05, min_points=2))
    parts = {"prompts": ["a {}."], "average_prompts": True, "synonyms": "joined", "size_fit": "resize"}
    return Segmentor(model=model, **parts).eval()


def request(size, seed=0, words=WORDS, **more):
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator),
        "vocabulary": words,
        **more,
    }


def test_mixed_batch_equals_one_by_one(segmentor):
    other = Vocabulary.parse("sky, dog")
    requests = [
        request((40, 56), 1),
        request((33, 61), 2),
        request((40, 56), 3, other),
        request((40, 56), 4),
        request((40, 56), 5, height=20, width=31),
    ]
    together = segmentor(requests)
    assert [tuple(answer["sem_seg"].shape) for answer in together] == [
        (3, 40, 56),
        (3, 32, 64),
        (2, 40, 56),
        (3, 40, 56),
        (3, 20, 31),
    ]
    for alone, answer in zip(requests, together, strict=True):
        torch.testing.assert_close(segmentor([alone])[0]["sem_seg"], answer["sem_seg"], atol=1e-4, rtol=1e-4)


def test_text_is_encoded_once_and_forgotten_by_training(segmentor, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "ovss.d2.segmentor.TextEmbedder",
        lambda clip, on_disk: lambda rows, *_: calls.append(rows) or torch.ones(len(rows), 1, 24),
    )
    for _ in range(2):
        segmentor.text(WORDS)
    assert len(calls) == 1
    segmentor.train()
    segmentor.eval()
    segmentor.text(WORDS)
    assert len(calls) == 2
    for index in range(VOCABULARIES_KEPT):
        segmentor.text(Vocabulary.parse(f"thing {index}"))
    segmentor.text(WORDS)
    assert len(calls) == 3 + VOCABULARIES_KEPT


@pytest.mark.parametrize("trains", [True, False])
def test_text_of_a_tower_that_has_trained_is_not_kept_on_disk(segmentor, trains, monkeypatch, tmp_path):
    monkeypatch.setenv("OVSS_CACHE", str(tmp_path))
    segmentor.model = copy.deepcopy(segmentor.model)  # others share its CLIP
    segmentor.model.clip.text.requires_grad_(trains)
    expected, _ = segmentor.text(WORDS)  # weights that were only read: kept
    (kept,) = (tmp_path / "text").glob("*.safetensors")
    kept.unlink()
    segmentor.train().eval()
    assert torch.equal(segmentor.text(WORDS)[0], expected)
    assert [path.name for path in (tmp_path / "text").glob("*.safetensors")] == ([] if trains else [kept.name])


def test_unknown_fit(segmentor):
    with pytest.raises(ValueError, match=r"unknown INPUT.SIZE_FIT 'padd'; known: pad, resize"):
        Segmentor(model=segmentor.model, prompts=["{}"], average_prompts=True, synonyms="first", size_fit="padd")


def test_background_words_become_one_class(segmentor):
    words = Vocabulary.from_words(["cat"], background=["wall", "sea"])
    answer = segmentor([request((40, 56), words=words)])[0]["sem_seg"]
    separate = segmentor([request((40, 56))])[0]["sem_seg"]
    assert answer.shape == (2, 40, 56)
    assert len(separate) == 3


def test_no_words(segmentor):
    bare = request((40, 56))
    del bare["vocabulary"]
    with pytest.raises(ValueError, match="no words to look for: give each input a 'vocabulary'"):
        segmentor([bare])
    segmentor.vocabulary = WORDS
    assert segmentor([bare])[0]["sem_seg"].shape == (3, 40, 56)


def test_training_is_refused(segmentor):
    with pytest.raises(RuntimeError, match="training-free"):
        segmentor.train()([request((40, 56))])


def test_predictor_on_a_real_model(segmentor):
    picture = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    found = Predictor(segmentor, lambda image: image)(picture, "cat, wall")
    assert found.labels.shape == (30, 45)
    assert set(np.unique(found.labels)) <= {0, 1}
