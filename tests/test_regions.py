"""cliptrase/regions.py: examples by hand, brute force, independence of the batch, the published code."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from cliptrase.dbscan import dbscan
from cliptrase.means import mean_labels, mean_scores
from cliptrase.regions import assign_regions, region_maps, vote

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "cliptrase.npz"
PUBLISHED = {"224": (0.7, 3), "336": (1.1, 7)}  # eps and min_points by image size
IMAGES = ("astronaut", "chelsea", "synthetic", "noise")


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists():
        pytest.skip("the outputs of the published code are not here: ../shared/golden/cliptrase.npz")
    with np.load(GOLDEN) as arrays:
        yield arrays


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)[None]


def random_correlation(images: int, side: int, seed: int = 0) -> torch.Tensor:
    """(B, N, N): correlations of 4 noisy kinds of patches, so that each image has clusters and noise."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 4, (images, side * side), generator=generator)
    same = (kinds.unsqueeze(1) == kinds.unsqueeze(2)).float()
    return same * 0.5 + 0.04 * torch.rand(same.shape, generator=generator)


def test_region_maps_by_hand():
    correlation = torch.arange(16.0).view(1, 4, 4).repeat(2, 1, 1)
    labels = torch.tensor([[1, -1, 0, 1], [-1, 0, -1, -1]])
    maps, valid = region_maps(correlation, labels, (2, 2))
    # Region 1 of the first image is the mean of the rows (0 1 2 3) and (12 13 14 15).
    assert maps[0].tolist() == [[[8, 9], [10, 11]], [[6, 7], [8, 9]]]
    assert maps[1].tolist() == [[[4, 5], [6, 7]], [[0, 0], [0, 0]]]
    assert valid.tolist() == [[True, True], [True, False]]


def test_region_maps_without_clusters():
    maps, valid = region_maps(torch.ones(2, 6, 6), torch.full((2, 6), -1), (2, 3))
    assert maps.shape == (2, 1, 2, 3)
    assert not valid.any()
    assert not maps.any()


def test_region_maps_rejects_another_grid():
    with pytest.raises(ValueError, match="2 x 2 patches does not fit 6 labels"):
        region_maps(torch.ones(1, 6, 6), torch.zeros(1, 6, dtype=torch.int64), (2, 2))


def test_assign_regions_by_hand():
    left = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(4, 4)
    regions = assign_regions(torch.stack([left, 1 - left])[None], torch.ones(1, 2, dtype=torch.bool), (12, 16))
    assert torch.equal(regions, (torch.arange(16) >= 8).long().expand(1, 12, 16))


def test_assign_regions_removes_specks():
    maps = torch.zeros(1, 2, 9, 9)
    maps[0, 0] = 0.5
    maps[0, 1, 4, 4] = 1
    valid = torch.ones(1, 2, dtype=torch.bool)
    assert (assign_regions(maps, valid, (36, 36), median=1) == 1).any()
    assert (assign_regions(maps, valid, (36, 36), upsample=1, median=7) == 0).all()


def test_assign_regions_skips_regions_that_do_not_exist():
    maps = torch.full((3, 2, 3, 5), -1.0)
    maps[:, 1] = 0  # would win everywhere
    valid = torch.tensor([[True, True], [True, False], [False, False]])
    regions = assign_regions(maps, valid, (6, 11))
    assert regions.shape == (3, 6, 11)
    assert regions.dtype == torch.int64
    assert [image.unique().tolist() for image in regions] == [[1], [0], [-1]]


def test_assign_regions_follows_scipy():
    maps = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(4))
    up = F.interpolate(maps, size=(20, 28), mode="bilinear", align_corners=False)[0].numpy()
    smooth = np.stack([ndimage.median_filter(one, size=7) for one in up])
    expected = F.interpolate(tensor(smooth), size=(50, 64), mode="bilinear", align_corners=False).argmax(1)
    assert torch.equal(assign_regions(maps, torch.ones(1, 3, dtype=torch.bool), (50, 64)), expected)


def test_vote_by_hand():
    labels = torch.tensor([[[2, 2, 0, 1], [1, 0, 1, 2]]])
    regions = torch.tensor([[[0, 0, 0, 3], [0, 3, -1, -1]]])
    shares = vote(labels, regions, 3)
    assert shares.shape == (1, 3, 2, 4)
    assert shares[0, :, 0, 0].tolist() == [0.25, 0.25, 0.5]  # of four voters two for class 2
    assert shares[0, :, 1, 1].tolist() == [0.5, 0.5, 0]
    assert shares[0, :, 1, 2].tolist() == [0, 1, 0]
    # The tie in region 3 goes to the smaller class, the pixels without region keep their own.
    assert shares.argmax(1).tolist() == [[[2, 2, 2, 0], [2, 0, 1, 2]]]


def test_vote_equals_counting_region_by_region():
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 4, (3, 13, 17), generator=generator)
    regions = torch.randint(-1, 6, (3, 13, 17), generator=generator)
    shares = vote(labels, regions, 7)
    torch.testing.assert_close(shares.sum(1), torch.ones(3, 13, 17))
    for image in range(3):
        for region in range(6):
            inside = regions[image] == region
            counts = torch.bincount(labels[image][inside], minlength=7)
            torch.testing.assert_close(
                shares[image][:, inside], (counts / counts.sum()).unsqueeze(1).expand(-1, inside.sum())
            )
            # The majority, ties to the smallest class, as numpy's argmax of sorted unique values.
            assert (shares[image].argmax(0)[inside] == int(np.argmax(counts.numpy()))).all()


def test_vote_without_any_region_keeps_the_labels():
    labels = torch.randint(0, 5, (2, 4, 6), generator=torch.Generator().manual_seed(6))
    shares = vote(labels, torch.full_like(labels, -1), 5)
    assert torch.equal(shares, F.one_hot(labels, 5).permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("wrong", [-1, 3])
def test_vote_rejects_labels_that_are_no_class(wrong):
    labels = torch.tensor([[[0, wrong, 2]]])
    with pytest.raises(ValueError, match="but must be 0 to 2, the 3 classes"):
        vote(labels, torch.zeros_like(labels), 3)


def test_a_batch_equals_its_images_alone():
    side, size, classes = 9, (40, 52), 6
    correlation = torch.cat([random_correlation(3, side), torch.eye(side * side)[None]])  # the last image is all noise
    labels = dbscan(correlation, eps=0.4, min_points=3)
    labels[1, labels[1] > 1] = -1  # fewer regions than its neighbours in the batch
    assert labels.amax(1).tolist() == [3, 1, 3, -1]
    generator = torch.Generator().manual_seed(8)
    logits = torch.randn(4, classes, side, side, generator=generator)
    votes = torch.randint(classes, (4, *size), generator=generator)

    def answers(chosen: slice) -> tuple[torch.Tensor, ...]:
        maps, valid = region_maps(correlation[chosen], labels[chosen], (side, side))
        regions = assign_regions(maps, valid, size)
        means = (mean_scores(logits[chosen], None, regions), *mean_labels(logits[chosen], None, regions))
        return regions, vote(votes[chosen], regions, classes), *means

    together = answers(slice(None))
    assert (together[0][3] == -1).all()
    for index in range(4):
        for whole, alone in zip(together, answers(slice(index, index + 1)), strict=True):
            assert torch.equal(whole[index], alone[0])


@pytest.mark.parametrize("size", PUBLISHED)
@pytest.mark.parametrize("image", IMAGES)
def test_clusters_of_the_published_code(golden, size, image):
    labels = dbscan(tensor(golden[f"paper/{size}/{image}/attn_recal"]), *PUBLISHED[size])
    np.testing.assert_array_equal(labels[0].numpy(), golden[f"paper/{size}/{image}/dbscan_labels"])


@pytest.mark.parametrize(("size", "eps", "image"), [("336", 0.6, "astronaut"), ("224", 0.3, "noise")])
def test_clusters_of_the_published_code_at_other_settings(golden, size, eps, image):
    labels = dbscan(tensor(golden[f"paper/{size}/{image}/attn_recal"]), eps, PUBLISHED[size][1])
    np.testing.assert_array_equal(labels[0].numpy(), golden[f"paper/{size}_eps{eps}/{image}/dbscan_labels"])
    check_answer(golden, size, image, "VOC20", labels, f"paper/{size}_eps{eps}/{image}/VOC20/pred")


@pytest.mark.parametrize("words", ["VOC20", "ADE150", "VOC21"])
@pytest.mark.parametrize("size", PUBLISHED)
@pytest.mark.parametrize("image", IMAGES)
def test_answers_of_the_published_code(golden, size, image, words):
    labels = tensor(golden[f"paper/{size}/{image}/dbscan_labels"]).long()
    check_answer(golden, size, image, words, labels, f"paper/{size}/{image}/{words}/pred")


def check_answer(golden, size: str, image: str, words: str, labels: torch.Tensor, answer: str) -> None:
    """Vote over the regions of `labels` and compare with the published code's final classes."""
    pixels = (int(size), int(size))
    correlation = tensor(golden[f"paper/{size}/{image}/attn_recal"])
    logits = tensor(golden[f"paper/{size}/{image}/{words}/patch_logits_lowres"])
    maps, valid = region_maps(correlation, labels, tuple(logits.shape[2:]))
    logits = F.interpolate(logits, size=pixels, mode="bilinear", align_corners=False)
    if words == "VOC20":
        logits = logits * torch.from_numpy(golden[f"paper/{size}/{image}/{words}/cls_logits"])[..., None, None]
    classes = logits.argmax(1)
    if words == "VOC21":
        classes = classes.clamp(max=20)
    final = vote(classes, assign_regions(maps, valid, pixels), logits.shape[1]).argmax(1)
    assert (final[0].numpy() == golden[answer]).mean() >= 0.999
