"""Labels without scores of every pixel: those of the whole scores, exactly, in every system; memory stays flat."""

import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_images, small_model, small_text
from hypothesis import given, settings
from hypothesis import strategies as st
from largest_tensor import Largest
from test_segmentor import request

from cliptrase.model import CLIPtrase, Regions
from cliptrase.regions import majority, vote
from ovss import labels as labels_module
from ovss.d2.augmentation import AugmentedSegmentor
from ovss.d2.mapper import InputTransform
from ovss.d2.segmentor import Segmentor
from ovss.inference import merge_rows, resized_classes
from ovss.labels import answered_labels, first_maximum, in_class_order, resize, resized_labels, winners
from ovss.predictor import Predictor
from ovss.sliding_window import SlidingWindow
from ovss.vocabulary import Vocabulary


def whole(scores, size, classes=None):
    score, label = merge_rows(resize(scores, size), classes).max(1)
    return label, score


def check(scores, size, classes=None):
    label, score = resized_labels(scores, size, classes)
    expected, highest = whole(scores, size, classes)
    assert torch.equal(label, expected)
    torch.testing.assert_close(score, highest, rtol=1e-5, atol=1e-5 * float(scores.abs().max()))


def test_resize_is_bilinear_and_treats_every_row_alike():
    scores = torch.rand(2, 30, 7, 9, generator=torch.Generator().manual_seed(0))
    scores[1, 17] = scores[0, 3]
    full = resize(scores, (40, 61))
    torch.testing.assert_close(full, F.interpolate(scores, (40, 61), mode="bilinear"), rtol=0, atol=3e-7)
    assert torch.equal(full[1, 17], full[0, 3])
    assert torch.equal(resize(scores[:, 5:8], (40, 61)), full[:, 5:8])


def test_resize_passes_gradients_and_answers_the_same():
    scores = torch.rand(2, 3, 4, 5, requires_grad=True)
    answer = resize(scores, (9, 11))
    assert torch.equal(answer, resize(scores.detach(), (9, 11)))
    answer.sum().backward()  # bilinear weights of each output sum to 1
    torch.testing.assert_close(scores.grad.sum(), torch.tensor(2.0 * 3 * 9 * 11))


@pytest.mark.parametrize("kind", ["smooth", "noise", "saturated", "constant", "few values", "huge", "sparse"])
@pytest.mark.parametrize(
    ("grid", "size"),
    [((7, 9), (50, 64)), ((16, 16), (99, 85)), ((2, 2), (40, 1)), ((1, 6), (9, 60)), ((9, 9), (5, 7))],
)
def test_exactly_the_argmax_of_the_whole(kind, grid, size):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 60, *grid, generator=generator)
    coarse = torch.randn(2, 60, 3, 3, generator=generator)
    smooth = F.interpolate(coarse, grid, mode="bicubic") + 0.05 * noise
    scores = {
        "smooth": smooth,
        "noise": noise,
        "saturated": (30 * smooth).sigmoid(),  # many are 1.0: ties
        "constant": torch.full_like(noise, 0.3),
        "few values": smooth.round(),
        "huge": 1e20 * smooth,
        "sparse": smooth.where(smooth > 2, 0),  # most places: all 0
    }[kind]
    check(scores, size)
    check(scores, size, torch.arange(60).flip(0) // 3)  # synonyms, in another order than the classes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(-2, 2), min_size=5 * 3 * 4, max_size=5 * 3 * 4),
    st.integers(1, 30),
    st.integers(1, 30),
    st.permutations([0, 0, 1, 2, 2]),
)
def test_ties_go_to_the_first_class(values, height, width, classes):
    scores = torch.tensor(values, dtype=torch.float32).view(1, 5, 3, 4)
    check(scores, (height, width))
    check(scores, (height, width), torch.tensor(classes))


def test_rows_are_left_out_only_where_they_cannot_win(monkeypatch):
    """Two of 40 rows win anywhere: nothing else is resized, not even for the pixels that are undecided."""
    scores = torch.full((1, 40, 4, 4), -5.0)
    scores[0, [7, 31]] = -1
    scores[0, 7, :, :2] = scores[0, 31, :, 2:] = 1
    seen = []
    monkeypatch.setattr(labels_module, "resize", lambda rows, size: seen.append(rows.shape[1]) or resize(rows, size))
    label, _ = resized_labels(scores, (32, 32))
    assert label[0, 0].tolist() == [7] * 16 + [31] * 16
    assert seen in ([], [2])


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_scores_that_are_no_numbers_are_not_hidden(bad):
    scores = torch.zeros(1, 3, 4, 4)
    scores[0, 1] = bad
    label, score = resized_labels(scores, (20, 20))
    assert (label == 1).all()
    assert not score.isfinite().any()


def test_first_maximum_over_parts():
    rows = torch.tensor([[1.0, 5.0], [3.0, 5.0], [3.0, 6.0], [0.0, 6.0]]).view(1, 4, 1, 2)
    for sizes in ([4], [1, 3], [2, 2], [1, 1, 1, 1]):
        winner, best = first_maximum(rows.split(sizes, dim=1))
        assert winner.flatten().tolist() == [1, 2]
        assert best.flatten().tolist() == [3, 6]


@pytest.mark.parametrize("classes", [1, 17, 256, 257, 272, 273])
def test_winners_of_whole_scores(classes):
    """Ties, numbers that are none, more pixels than are looked at at once, a tensor that is not contiguous."""
    scores = torch.randint(0, 9, (classes, 190, 97), generator=torch.Generator().manual_seed(0)).float().transpose(1, 2)
    scores[classes // 2, :2] = torch.nan
    scores[-1, 3] = torch.inf
    scores[:, 4] = -torch.inf
    best, label = scores.max(dim=0)
    found, value = winners(scores)
    assert torch.equal(found, label)
    torch.testing.assert_close(value, best, rtol=0, atol=0, equal_nan=True)


def test_classes_resized_a_few_at_a_time():
    scores, classes = in_class_order(torch.rand(1, 50, 3, 3), torch.arange(50).flip(0) // 2)
    parts = [*resized_classes(scores, (6, 6), classes)]
    assert [part.shape[1] for part in parts] == [16, 9]
    assert torch.equal(torch.cat(parts, 1), merge_rows(resize(scores, (6, 6)), classes))


def test_majority_is_the_first_highest_share():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 6, 7), generator=generator)
    regions = torch.randint(-1, 9, (2, 6, 7), generator=generator)  # small regions: ties
    share, label = vote(labels, regions, 3).max(1)
    found = majority(labels, regions, 3)
    assert torch.equal(found[0], label)
    assert torch.equal(found[1], share)


def build(system, clip):
    parts = {"prompts": ["a {}."], "synonyms": "each", "size_fit": "resize"}
    if system in ("none", "vote", "mean"):
        model = CLIPtrase(clip=clip, fusion=system, regions=Regions(eps=1.05, min_points=2))
        return Segmentor(model=model, average_prompts=True, **parts).eval()
    window = SlidingWindow((48, 48), 32, 0.5) if system == "windows" else None
    model = small_model(clip, pad_to=8)
    segmentor = Segmentor(model=model, average_prompts=False, sliding_window=window, **parts).eval()
    if system != "TTA":
        return segmentor
    resizes = [InputTransform(min_size=size, max_size=100) for size in (40, 56)]
    return AugmentedSegmentor(segmentor, resizes=resizes, flip=True)


@pytest.mark.parametrize("system", ["none", "vote", "mean", "CAT-Seg", "windows", "TTA"])
def test_every_system_answers_the_argmax_of_its_scores(system, small_clip):
    segmentor = build(system, small_clip)
    words = Vocabulary.from_words(["cat, kitten", "wall", "sea, ocean"], background=["sky", "dog", "cat"])
    inputs = [request((40, 56), 1, words, height=61, width=75), request((48, 40), 2)]
    asked = segmentor([{**item, "labels_only": True} for item in inputs])
    for answer, scores in zip(asked, segmentor(inputs), strict=True):
        assert set(answer) == {"labels", "scores"}
        assert torch.equal(answer["labels"], scores["sem_seg"].argmax(0))
        torch.testing.assert_close(answer["scores"], scores["sem_seg"].amax(0))
        assert torch.equal(answered_labels(scores)[0], answered_labels(answer)[0])


@pytest.mark.parametrize("system", ["none", "vote", "mean", "CAT-Seg", "windows"])
def test_no_step_makes_the_scores_of_all_classes(system, small_clip):
    segmentor = build(system, small_clip)
    request = small_images(), small_text(200), torch.arange(200), (500, 500)
    with torch.no_grad(), Largest() as whole:
        expected = segmentor.score(*request).argmax(1)
    with Largest() as largest:
        label, _ = segmentor.label(*request)
    assert torch.equal(label, expected)
    assert whole.values >= 200 * 500 * 500
    assert largest.values <= 80 * 500 * 500


def test_the_predictor_needs_no_bound_for_a_segmentor_that_answers_labels(small_clip, monkeypatch):
    monkeypatch.setattr("ovss.predictor.MAX_SCORES", 10)
    image = torch.randint(0, 256, (40, 56, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    segmentor = build("CAT-Seg", small_clip)
    found = Predictor(segmentor, lambda pixels: pixels)(image.numpy(), "cat, wall, sea")
    words = Vocabulary.parse("cat, wall, sea")
    (answer,) = segmentor([{"image": image.permute(2, 0, 1).contiguous(), "vocabulary": words}])
    assert torch.equal(torch.from_numpy(found.labels), answer["sem_seg"].argmax(0))
