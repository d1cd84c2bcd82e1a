"""The embedded tiny CLIP: it loads, it is small, and it knows what it has read, on scenes that it has not seen."""

import json

import numpy as np
import pytest
import torch

from ovss.assets.measure_tiny import pair_accuracy, retrieval_accuracy
from ovss.assets.reading import PROMPTS, STAGES, Reading, bare_name, known_token_ids, sentence_for, stage_of
from ovss.assets.train_tiny import contrastive_loss, encode_at_a_place, read_late, tiny_config, whitening_filters
from ovss.clip.model import ASSETS, CLIP
from ovss.clip.weights import load_clip
from ovss.scenes import CLASSES, draw_scene


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
        images, sentences = reading[step]
        assert len(images) == len(clip.tokenizer(sentences)) == stage_of(step, 40).batch


def test_sentences_name_only_what_is_in_sight():
    rng = np.random.default_rng(0)
    for seed in range(60):
        scene = draw_scene((5, seed))
        named = {name for name in CLASSES if name in sentence_for(scene, rng)}
        assert named
        assert named <= set(scene.names)
        assert bare_name(scene, rng) in scene.names


def test_reading_is_a_function_of_seed_and_step():
    first, again, other = (Reading(steps=10, seed=seed)[2] for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], other[0])


def test_stages_cover_the_steps():
    assert sum(stage.share for stage in STAGES) == pytest.approx(1)
    assert [stage_of(step, 100) for step in (0, 99)] == [STAGES[0], STAGES[-1]]


def test_a_full_picture_has_one_place(clip):
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(encode_at_a_place(clip, images, late=False), clip.encode_image(images))


def test_a_late_class_token_reads_nothing_before(clip):
    block, x = clip.visual.resblocks[0], torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        late = read_late(block, x)[0]
        torch.testing.assert_close(late[:, 1:], block(x)[:, 1:])
        torch.testing.assert_close(late[:, :1], block(x[:, :1]))


def test_whitened_filters_answer_without_correlation():
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    filters = whitening_filters(images, 16, 8, noise=0)
    answers = torch.nn.functional.conv2d(images, filters, stride=8).transpose(0, 1).flatten(1)
    torch.testing.assert_close(answers.cov(), torch.eye(16), atol=1e-2, rtol=0)


def test_loss_is_that_of_chance_for_features_that_say_nothing(clip):
    images = torch.zeros(6, 3, 128, 128)
    with torch.no_grad():
        loss = contrastive_loss(clip, images, ["a red star"] * 6, late=True)
    assert float(loss) == pytest.approx(np.log(6), abs=1e-4)


def test_finds_captions_and_pairs_far_above_chance(clip):
    assert retrieval_accuracy(clip, 64) > 0.4  # chance 1/64
    assert pair_accuracy(clip, 64) > 0.2  # chance 1/36
