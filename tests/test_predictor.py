"""The predictor with a segmentor that labels by colour: no CLIP, answers known beforehand."""

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ovss import predictor as predictor_module
from ovss.images import ImageError, from_pil, read_image
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.parse("red, green, blue")


def by_colour(batch: list[dict]) -> list[dict]:
    """Scores of the first three classes: the red, green and blue value; further classes: 0."""
    answers = []
    for request in batch:
        assert request["image"].dtype == torch.uint8
        size = (request["height"], request["width"])
        scores = torch.nn.functional.interpolate(request["image"][None].float(), size, mode="nearest-exact")[0]
        extra = torch.zeros(len(request["vocabulary"].classes) - 3, *size)
        answers.append({"sem_seg": torch.cat([scores, extra])})
    return answers


def half(image: np.ndarray) -> np.ndarray:
    return image[::2, ::2]


@pytest.fixture
def picture() -> np.ndarray:
    """8 x 12: red on the left third, blue elsewhere."""
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :4, 0] = 200
    image[:, 4:, 2] = 150
    return image


def test_labels_and_scores_have_the_size_of_the_picture(picture):
    result = Predictor(by_colour, half, WORDS)(picture)
    assert result.classes == ("red", "green", "blue")
    assert (result.labels.dtype, result.scores.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(result.labels, np.where(np.arange(12) < 4, 0, 2)[None].repeat(8, axis=0))
    np.testing.assert_array_equal(result.scores, np.where(np.arange(12) < 4, 200, 150)[None].repeat(8, axis=0))


def test_the_request_follows_the_contract(picture, tmp_path):
    requests: list[dict] = []

    def spy(batch):
        requests.extend(batch)
        return by_colour(batch)

    Image.fromarray(picture).save(tmp_path / "a.png")
    Predictor(spy, half, WORDS)(tmp_path / "a.png")
    (request,) = requests
    assert set(request) == {"file_name", "image", "height", "width", "vocabulary", "labels_only"}
    assert (request["height"], request["width"], request["file_name"]) == (8, 12, str(tmp_path / "a.png"))
    assert request["vocabulary"] is WORDS
    np.testing.assert_array_equal(request["image"], half(picture).transpose(2, 0, 1))


def test_a_file_and_its_pixels_give_the_same(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    predict = Predictor(by_colour, half, WORDS)
    np.testing.assert_array_equal(predict(tmp_path / "a.png").labels, predict(picture).labels)


def test_words_of_the_call_go_before_the_default(picture):
    predict = Predictor(by_colour, half, WORDS)
    assert predict(picture, "cat, wall, sky").classes == ("cat", "wall", "sky")
    assert predict(picture, ["cat", "wall", "sky", "sea"]).classes == ("cat", "wall", "sky", "sea")
    assert predict(picture).classes == WORDS.classes


def test_no_gradients_are_kept(picture):
    states = []

    def spy(batch):
        states.append(torch.is_grad_enabled())
        return by_colour(batch)

    Predictor(spy, half, WORDS)(picture)
    assert states == [False]


def test_scores_beyond_the_memory_bound_come_smaller_and_are_enlarged(picture, monkeypatch):
    sizes = []

    def spy(batch):
        sizes.append((batch[0]["height"], batch[0]["width"]))
        return by_colour(batch)

    whole = Predictor(spy, half, WORDS)(picture)
    monkeypatch.setattr(predictor_module, "MAX_SCORES", 3 * 4 * 6)
    bounded = Predictor(spy, half, WORDS)(picture)
    assert sizes == [(8, 12), (4, 6)]
    np.testing.assert_array_equal(bounded.labels, whole.labels)
    np.testing.assert_array_equal(bounded.scores, whole.scores)


@pytest.mark.parametrize(
    ("image", "words", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), None, "no words to look for: give a vocabulary"),
        (np.zeros((4, 4, 3), np.uint8), "cat,,wall", "an empty word"),
        (np.zeros((4, 4), np.uint8), "cat", r"must be \(H, W, 3\) uint8 RGB, not \(4, 4\) uint8"),
        (np.zeros((4, 4, 3)), "cat", r"not \(4, 4, 3\) float64"),
        (np.zeros((0, 4, 3), np.uint8), "cat", r"not \(0, 4, 3\) uint8"),
    ],
)
def test_mistakes_are_named(image, words, message):
    with pytest.raises(ValueError, match=message):
        Predictor(by_colour, half)(image, words)


def test_an_unreadable_file_is_an_image_error(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"a\.png"):
        Predictor(by_colour, half, WORDS)(tmp_path / "a.png")


def test_areas_are_shares_of_all_classes(picture):
    areas = Predictor(by_colour, half, WORDS)(picture).areas()
    assert areas == {"red": pytest.approx(1 / 3), "green": 0.0, "blue": pytest.approx(2 / 3)}
    assert list(areas) == ["red", "green", "blue"]


def test_segmentation_is_frozen(picture):
    result = Predictor(by_colour, half, WORDS)(picture)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.labels = None  # type: ignore[misc, assignment]


def test_a_list_of_pictures_of_any_sizes_and_kinds(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    batches = []

    def spy(batch):
        batches.append(len(batch))
        return by_colour(batch)

    images = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(picture[:, :4]), picture[:2].copy()]
    found = Predictor(spy, half, WORDS).segment(images, batch_size=3)
    assert batches == [3, 1]
    assert [answer.labels.shape for answer in found] == [(8, 12), (8, 12), (8, 4), (2, 12)]
    assert [answer.file for answer in found] == [str(tmp_path / "a.png")] * 2 + ["picture_2", "picture_3"], (
        "apart when they are saved"
    )
    np.testing.assert_array_equal(found[1].image, picture)
    assert Predictor(by_colour, half, WORDS).segment([]) == []
    with pytest.raises(ValueError, match="batch_size 0"):
        Predictor(by_colour, half, WORDS).segment(images, batch_size=0)


def test_a_pil_image_is_read_as_its_file_would_be(tmp_path):
    clear = Image.new("LA", (6, 4), (0, 0))  # white where a viewer shows white
    clear.save(tmp_path / "a.png")
    predict = Predictor(by_colour, lambda image: image, WORDS)
    np.testing.assert_array_equal(predict(clear).image, predict(tmp_path / "a.png").image)
    np.testing.assert_array_equal(predict(clear).image, np.full((4, 6, 3), 255))


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_a_pil_image_of_sixteen_bits_is_read_as_its_file_would_be(tmp_path, suffix):
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)).save(path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(from_pil(opened), read_image(path))


def test_logits_are_all_scores_and_labels_their_argmax(picture):
    predict = Predictor(by_colour, half, WORDS)
    logits = predict.logits(picture)
    assert logits.shape == (3, 8, 12)
    np.testing.assert_array_equal(logits.argmax(0), predict(picture).labels)


def test_probabilities_are_what_the_segmentor_makes_of_its_scores(picture):
    class Segmentor:
        answers_labels = True

        def __call__(self, batch):
            assert not batch[0]["labels_only"]
            return by_colour(batch)

        def probabilities(self, scores):
            return scores / 255

    found = Predictor(Segmentor(), half, WORDS).segment(picture, probabilities=True)
    assert found.probabilities.shape == (3, 8, 12)
    assert found.probabilities[0, 0, 0] == np.float32(200 / 255)
    assert Predictor(by_colour, half, WORDS).segment(picture).probabilities is None


def test_threads_take_turns_at_the_model(picture):
    """Every answer is its own thread's, and the model is never entered twice."""
    inside, most = [], []

    def slow(batch):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)
        answer = by_colour(batch)
        inside.pop()
        return answer

    predict = Predictor(slow, lambda image: image, WORDS)
    pictures = [np.full((4, 4, 3), 0, np.uint8) for _ in range(12)]
    for index, image in enumerate(pictures):
        image[..., index % 3] = 9
    found = {}
    threads = [
        threading.Thread(target=lambda index=index: found.update({index: predict(pictures[index]).labels}))
        for index in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert all((found[index] == index % 3).all() for index in range(12))
