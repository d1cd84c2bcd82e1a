"""The embedded tiny CLIP: it loads, it is small, and it knows what it has read, on scenes that it has not seen."""

import json

import numpy as np
import pytest
import torch

from ovss.assets.contrast import encode_at_a_place, info_nce, read_late, reading_loss
from ovss.assets.measure_tiny import pair_accuracy, retrieval_accuracy
from ovss.assets.reading import PROMPTS, STAGES, Reading, known_token_ids, sentences_of, stage_of, words_for
from ovss.assets.train_tiny import let_through, tiny_config, whitening_filters
from ovss.clip.model import ASSETS, CLIP
from ovss.clip.transformer import build_blocks
from ovss.clip.weights import load_clip
from ovss.drawing import SHAPES
from ovss.scenes import CLASSES, draw_scene


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return load_clip("tiny")


def test_files_are_small_and_say_how_they_were_made():
    assert sum(path.stat().st_size for path in ASSETS.glob("tiny_clip*")) <= 8 * 1024**2
    log = json.loads((ASSETS / "tiny_clip_log.json").read_text())
    assert log["command"].startswith("python -m ovss.assets.train_tiny")
    assert log["loss"][0]["loss"] > log["loss"][-1]["loss"]


def test_config_is_the_one_that_the_command_writes():
    assert json.loads((ASSETS / "tiny_clip.json").read_text()) == tiny_config()


def test_every_prompt_can_be_read_with_every_class(clip):
    sentences = [prompt.format(name) for prompt in PROMPTS for name in CLASSES]
    assert clip.tokenizer(sentences).max() == len(known_token_ids()) - 1


def test_every_sentence_of_the_training_can_be_read(clip):
    reading = Reading(steps=40, seed=3)
    for step in range(0, 40, 8):
        images, kinds = reading[step]
        stage = stage_of(step, 40)
        assert (len(images), len(kinds)) == (stage.batch, 1 + stage.captions)
        for kind in kinds:
            assert (
                kind.true_of.shape == (len(images), len(clip.tokenizer(kind.texts))) == (stage.batch, len(kind.texts))
            )
            assert kind.true_of.any(0).all()
            assert kind.true_of.any(1).all()


def test_words_are_true_of_the_pictures_that_show_them():
    rng = np.random.default_rng(0)
    scenes = [draw_scene((5, seed)) for seed in range(40)]
    words = words_for(scenes, rng)
    for text, true_of in zip(words.texts, words.true_of.T, strict=True):
        pairs = [name for name in CLASSES if name in text]
        word = pairs[0] if pairs else next(shape for shape in SHAPES if shape in text)
        assert true_of.tolist() == [any(word in name for name in scene.names) for scene in scenes], text


def test_equal_captions_are_one_sentence():
    found = sentences_of([{"a red star on sand"}, {"a blue ring on grass"}, {"a red star on sand"}])
    assert found.texts == ["a blue ring on grass", "a red star on sand"]
    assert found.true_of.tolist() == [[False, True], [True, False], [False, True]]


def test_reading_is_a_function_of_seed_and_step():
    first, again, other = (Reading(steps=10, seed=seed)[2] for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert first[1][0].texts == again[1][0].texts
    assert torch.equal(first[1][0].true_of, again[1][0].true_of)
    assert not torch.equal(first[0], other[0])


def test_stages_cover_the_steps():
    assert sum(stage.share for stage in STAGES) == pytest.approx(1)
    assert [stage_of(step, 100) for step in (0, 99)] == [STAGES[0], STAGES[-1]]


def test_a_full_picture_has_one_place(clip):
    images = torch.randn(2, 3, 128, 128, generator=seeded())
    with torch.no_grad():
        torch.testing.assert_close(encode_at_a_place(clip, images, late=False), clip.encode_image(images))


def test_a_late_class_token_reads_nothing_before(clip):
    block, x = clip.visual.resblocks[0], torch.randn(2, 5, 128, generator=seeded())
    with torch.no_grad():
        late = read_late(block, x)[0]
        torch.testing.assert_close(late[:, 1:], block(x)[:, 1:])
        torch.testing.assert_close(late[:, :1], block(x[:, :1]))


def test_whitened_filters_answer_without_correlation():
    images = torch.randn(64, 3, 32, 32, generator=seeded()).cumsum(-1)
    filters = whitening_filters(images, 16, 8, noise=0)
    answers = torch.nn.functional.conv2d(images, filters, stride=8).transpose(0, 1).flatten(1)
    torch.testing.assert_close(answers.cov(), torch.eye(16), atol=1e-2, rtol=0)


def test_loss_with_one_sentence_for_each_picture_is_that_of_clip():
    pictures, sentences = torch.nn.functional.normalize(torch.randn(2, 5, 8, generator=seeded()), dim=-1)
    logits, target = 7 * pictures @ sentences.T, torch.arange(5)
    expected = torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
    found = info_nce(pictures, sentences, torch.eye(5, dtype=torch.bool), torch.tensor(7.0))
    torch.testing.assert_close(found, expected / 2)


def test_loss_of_several_true_sentences_by_hand():
    """Two pictures, three sentences, the first true of both and halfway between them."""
    true_of = torch.tensor([[True, True, False], [True, False, True]])
    half = 0.5**0.5
    pictures, sentences = torch.eye(2), torch.tensor([[half, half], [1, 0], [0, 1]])
    without_features = info_nce(pictures, sentences, true_of, torch.tensor(0.0))
    assert float(without_features) == pytest.approx((np.log(3) + np.log(2)) / 2)
    by_picture = np.log(np.exp(2 * half) + np.exp(2) + 1) - (2 * half + 2) / 2
    by_sentence = (np.log(2) + 2 * (np.log(np.exp(2) + 1) - 2)) / 3
    found = info_nce(pictures, sentences, true_of, torch.tensor(2.0))
    assert float(found) == pytest.approx((by_picture + by_sentence) / 2)


def test_loss_is_the_sum_over_kinds_of_sentences(clip):
    images = torch.randn(3, 3, 128, 128, generator=seeded())
    kinds = [sentences_of([{"sand"}, {"star"}, {"sand", "star"}]), sentences_of([{"a red star"}] * 3)]
    with torch.no_grad():
        both = reading_loss(clip, images, kinds, late=True)
        apart = [reading_loss(clip, images, [kind], late=True) for kind in kinds]
    torch.testing.assert_close(both, sum(apart))


def test_a_block_that_lets_through_adds_the_mean():
    block = build_blocks(layers=1, width=8, heads=2, mlp_ratio=1.0, quick_gelu=True)[0]
    let_through(block, gain=3.0)
    for name in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj", "mlp.c_proj"):
        for parameter in block.get_submodule(name).parameters():
            if name.endswith(("q_proj", "k_proj", "c_proj")) or parameter.ndim == 1:
                parameter.data.zero_()
    x = torch.randn(2, 5, 8, generator=seeded())
    mean = torch.nn.functional.layer_norm(x, (8,)).mean(1, keepdim=True)
    torch.testing.assert_close(block(x), x + 3 * mean)


def test_finds_captions_and_pairs_far_above_chance(clip):
    assert retrieval_accuracy(clip, 64) > 0.85  # chance 1/64
    assert pair_accuracy(clip, 64) > 0.95  # chance 1/36
