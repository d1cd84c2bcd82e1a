"""Best and worst pictures: who is kept, by whom, in which order, at which size."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovss.report.examples import KEPT, SIDE, Example, Examples, shown_example

PIXEL = np.zeros((1, 1), np.int64)


def example(file: str, score: float) -> Example:
    return Example(file, score, np.zeros((1, 1, 3), np.uint8), PIXEL, PIXEL)


def files(examples: Examples) -> tuple[list[str], list[str]]:
    best, worst = examples.best_and_worst()
    return [item.file for item in best], [item.file for item in worst]


def test_best_and_worst_by_hand():
    examples = Examples()
    for file, score in zip("abcdefghij", (50, 40, 90, 10, 60, 50, 20, 70, 30, 80), strict=True):
        examples.add(example(file, score))
    assert files(examples) == (["c", "j", "h", "e"], ["d", "g", "i", "b"])
    assert len(examples.ranked()) == 2 * KEPT


def test_ties_go_by_file_name():
    for order in list(permutations("abcdefghi"))[::5000]:
        examples = Examples()
        for file in order:
            examples.add(example(file, 50))
        assert files(examples) == (["a", "b", "c", "d"], ["i", "h", "g", "f"])


@pytest.mark.parametrize(("count", "best", "worst"), [(0, "", ""), (1, "a", ""), (2, "a", "b"), (5, "abc", "ed")])
def test_a_few_pictures_are_shown_once(count, best, worst):
    examples = Examples()
    for index in range(count):
        examples.add(example("abcde"[index], 90 - index))
    assert files(examples) == (list(best), list(worst))


def test_a_picture_without_a_score_is_not_kept():
    examples = Examples()
    examples.add(example("a", float("nan")))
    assert not examples.ranked()


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(1, 4), st.randoms(use_true_random=False))
def test_processes_and_order_do_not_matter(scores, processes, random):
    """Shares of several processes, in which a sampler may repeat a picture, give what one process gives."""
    offered = [example(f"{index:02d}", score) for index, score in enumerate(scores)]
    shuffled = offered + offered[:3]
    random.shuffle(shuffled)
    merged = Examples()
    for rank in range(processes):
        share = Examples()
        for item in shuffled[rank::processes]:
            share.add(item)
        for item in share.ranked():
            merged.add(item)
    ranked = [item.file for item in sorted(offered, key=lambda item: (-item.score, item.file))]
    half = min(KEPT, (len(ranked) + 1) // 2)
    assert files(merged) == (ranked[:half], ranked[::-1][: min(KEPT, len(ranked) // 2)])


def test_wants_says_what_add_does():
    generator = np.random.default_rng(0)
    examples = Examples()
    for index in range(50):
        item = example(f"{index}", float(generator.integers(0, 100)))
        wanted = examples.wants(item.file, item.score)
        examples.add(item)
        assert wanted == (item in examples.ranked())
        assert not examples.wants(item.file, item.score)


def test_a_large_picture_is_kept_small():
    target = np.zeros((600, 2048), np.int64)
    target[:, 1024:] = 7
    image = np.full((300, 1024, 3), 9, np.uint8)
    kept = shown_example("a", 1.0, image, target, target)
    assert kept.image.shape == (150, SIDE, 3)
    assert kept.prediction.shape == kept.target.shape == (150, SIDE)
    assert (kept.target[:, : SIDE // 2] == 0).all()
    assert (kept.target[:, SIDE // 2 :] == 7).all()
    assert (kept.image == 9).all()


def test_a_small_picture_keeps_its_size():
    target = np.arange(6).reshape(2, 3)
    kept = shown_example("a", 1.0, np.zeros((4, 6, 3), np.uint8), target + 1, target)
    assert kept.image.shape == (2, 3, 3)
    np.testing.assert_array_equal(kept.target, target)
    np.testing.assert_array_equal(kept.prediction, target + 1)
