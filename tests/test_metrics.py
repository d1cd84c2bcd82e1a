"""ovss/metrics.py: an example by hand, scikit-learn, brute force, sharding, scores of the published code."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ovss.metrics import ConfusionMatrix, per_class_table, scores

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "cliptrase.npz"
# Four pixels of class 0, one of them called 1; two of class 1, called 0 and 2; none of class 2, no trace of class 3.
COUNTS = torch.tensor([[3, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def confusion(prediction, target, num_classes: int, ignore_label: int = 255) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes)
    matrix.update(torch.as_tensor(prediction), torch.as_tensor(target), ignore_label)
    return matrix


def test_counts_by_hand():
    matrix = confusion([[0, 0, 0, 1], [0, 2, 3, 9]], [[0, 0, 0, 0], [1, 1, 255, 255]], 4)
    assert torch.equal(matrix.counts, COUNTS)
    assert matrix.counts.dtype == torch.int64


def test_scores_by_hand():
    result = scores(COUNTS)
    # IoU: 3 of 5; 0 of 3; 0 of 1; undefined.
    assert result.IoU[:3] == pytest.approx((60, 0, 0))
    assert result.accuracy[:2] == pytest.approx((75, 0))
    assert [math.isnan(value) for value in result.IoU] == [False, False, False, True]
    assert [math.isnan(value) for value in result.accuracy] == [False, False, True, True]
    assert result.mIoU_gt == pytest.approx(60 / 2)
    assert result.mIoU_union == pytest.approx(60 / 3)
    assert result.pAcc == pytest.approx(50)
    assert result.mAcc_gt == pytest.approx(75 / 2)
    assert result.mAcc_all == pytest.approx(75 / 4)
    assert result.fwIoU == pytest.approx(60 * 4 / 6)


def test_epsilon_enters_class_accuracy_and_iou_only():
    result = scores(COUNTS, epsilon=1)
    assert result.IoU[0] == pytest.approx(100 * 3 / 6)
    assert result.accuracy[0] == pytest.approx(100 * 3 / 5)
    assert result.pAcc == pytest.approx(50)
    assert result.mAcc_all == pytest.approx(60 / 4)
    assert result.fwIoU == pytest.approx(50 * 4 / 6)


def test_nothing_counted_is_nan_everywhere(recwarn):
    result = scores(confusion([0, 1], [255, 255], 2).counts)
    values = [value for name in vars(result) for value in np.atleast_1d(getattr(result, name))]
    assert len(values) == 10
    assert all(math.isnan(value) for value in values)
    assert not recwarn.list


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 5, 900), rng.integers(0, 7, 900)  # classes 5 and 6 are predicted only
    matrix = confusion(prediction, target, 8)
    np.testing.assert_array_equal(
        matrix.counts.numpy(), sklearn_metrics.confusion_matrix(target, prediction, labels=range(8))
    )
    result = scores(matrix.counts)
    iou = 100 * sklearn_metrics.jaccard_score(target, prediction, labels=range(7), average=None)
    assert result.IoU[:7] == pytest.approx(iou)
    assert result.mIoU_union == pytest.approx(iou.mean())
    assert result.mIoU_gt == pytest.approx(iou[:5].mean())
    assert result.pAcc == pytest.approx(100 * sklearn_metrics.accuracy_score(target, prediction))
    recall = 100 * sklearn_metrics.recall_score(target, prediction, labels=range(5), average=None)
    assert result.accuracy[:5] == pytest.approx(recall)
    assert result.mAcc_gt == pytest.approx(recall.mean())
    weighted = sklearn_metrics.jaccard_score(target, prediction, labels=range(5), average="weighted")
    assert result.fwIoU == pytest.approx(100 * weighted)


pixels = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 255])), max_size=40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pixels)
def test_equals_counting_one_by_one(pairs):
    expected = torch.zeros(4, 4, dtype=torch.int64)
    for predicted, true in pairs:
        if true != 255:
            expected[true, predicted] += 1
    prediction = torch.tensor([predicted for predicted, _ in pairs], dtype=torch.int64)
    target = torch.tensor([true for _, true in pairs], dtype=torch.int64)
    assert torch.equal(confusion(prediction, target, 4).counts, expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(pixels, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_and_sharding_of_the_images_do_not_matter(images, random):
    def count(some):
        matrix = ConfusionMatrix(4)
        for pairs in some:
            columns = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
            matrix.update(columns[:, 0], columns[:, 1], 255)
        return matrix

    whole = count(images).counts
    shuffled = random.sample(images, len(images))
    shards = [count(shuffled[start::3]) for start in range(3)]
    assert torch.equal(sum(shards, ConfusionMatrix(4)).counts, whole)
    assert torch.equal(whole, sum((shard.counts for shard in shards), torch.zeros_like(whole)))


def test_adding_leaves_both_parts_alone():
    one, other = confusion([0], [0], 2), confusion([1], [0], 2)
    assert (one + other).counts.tolist() == [[1, 1], [0, 0]]
    assert one.counts.tolist() == [[1, 0], [0, 0]]
    assert other.counts.tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32])
def test_takes_labels_as_files_store_them(dtype):
    # 200 * 201 + 200 exceeds the range of the small types.
    prediction = torch.full((2, 2), 200).to(dtype)
    target = torch.tensor([[200, 200], [0, 255]]).to(dtype)
    counts = confusion(prediction, target, 201).counts
    assert (counts[200, 200], counts[0, 200], counts.sum()) == (2, 1, 3)


def test_the_ignore_label_may_be_a_class_or_negative():
    assert confusion([0, 1], [0, 1], 2, ignore_label=0).counts.tolist() == [[0, 0], [0, 1]]
    assert confusion([0, 1], [-1, 1], 2, ignore_label=-1).counts.tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([0, 0], [1, 150], "class 150 in the target is outside 0 to 2; pixels to leave out must have the ignore label"),
        ([0, 0], [1, -1], "class -1 in the target is outside 0 to 2"),
        ([0, 3], [1, 1], "class 3 in the prediction is outside 0 to 2"),
        ([-1, 0], [1, 1], "class -1 in the prediction is outside 0 to 2"),
        ([0, 0, 0], [1, 1], "the prediction has shape (3,), the target (2,)"),
    ],
)
def test_rejects_what_it_cannot_count_and_stays_as_it_was(prediction, target, message):
    matrix = confusion([0], [0], 3)
    with pytest.raises(ValueError, match=re.escape(message)):
        matrix.update(torch.tensor(prediction), torch.tensor(target), 255)
    assert matrix.counts.sum() == 1


def test_rejects_matrices_without_classes_or_of_other_classes():
    with pytest.raises(ValueError, match="at least 1 class, not 0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="of 2 and 3 classes"):
        ConfusionMatrix(2) + ConfusionMatrix(3)


def test_table_per_class():
    lines = per_class_table(scores(COUNTS), ["wall", "a|b", "sky", "sea"]).splitlines()
    assert lines[0] == "| class | IoU | accuracy |"
    assert lines[2:] == ["| wall | 60.00 | 75.00 |", r"| a\|b | 0.00 | 0.00 |", "| sky | 0.00 | - |", "| sea | - | - |"]
    with pytest.raises(ValueError, match="1 names for the scores of 4 classes"):
        per_class_table(scores(COUNTS), ["wall"])


@pytest.mark.parametrize(("words", "classes"), [("VOC20", 20), ("ADE150", 150), ("VOC21", 21)])
def test_scores_of_the_published_code(words, classes):
    if not GOLDEN.exists():
        pytest.skip("the outputs of the published code are not here: ../shared/golden/cliptrase.npz")
    with np.load(GOLDEN) as golden:
        for size in ("224", "336"):
            for image in ("astronaut", "chelsea", "synthetic", "noise"):
                key = f"paper/{size}/{image}/{words}"
                target = golden[f"{key}/gt"].copy()
                target[(target < 0) | (target >= classes)] = -1
                counts = confusion(golden[f"{key}/pred"], target, classes, ignore_label=-1).counts
                result = scores(counts, epsilon=0.01)
                ours = [round(value, 2) for value in (result.pAcc, result.mAcc_all, result.fwIoU, result.mIoU_gt)]
                assert ours == golden[f"{key}/scores"].tolist(), key
