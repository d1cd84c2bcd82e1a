"""cliptrase/dbscan.py against scikit-learn, label for label."""

import math

import pytest
import torch
from point_sets import random_sets, reference

from cliptrase import dbscan as module
from cliptrase.dbscan import dbscan


def line(*positions: float) -> torch.Tensor:
    return torch.tensor(positions)[None, :, None]


def test_two_clusters_and_noise_by_hand():
    assert dbscan(line(10, 0, 0.5, 5, 10.5, 1), eps=0.6, min_points=2).tolist() == [[0, 1, 1, -1, 0, 1]]


def test_border_point_of_two_clusters_joins_the_lower_number():
    # Only the points at 4 and 8 have three neighbours; the point at 6 is within reach of both, and core of none.
    points = line(6, 8, 8.5, 9, 9.5, 4, 3.5, 3, 2.5)
    assert dbscan(points, eps=2, min_points=4).tolist() == reference(points, 2, 4)
    assert dbscan(points, eps=2, min_points=4)[0, 0] == 0
    flipped = points.flip(1)
    assert dbscan(flipped, eps=2, min_points=4).tolist() == reference(flipped, 2, 4)


def test_a_first_point_on_the_border_does_not_number_its_cluster():
    # Point 0 is a border point of the cluster whose first core point comes after the other cluster's.
    points = line(0, 10, 10, 10, 1, 1, 1.5)
    assert dbscan(points, eps=1, min_points=4).tolist() == reference(points, 1, 4)
    points = line(0, 10, 10, 10, 0.9, 1.5, 1.6)
    assert dbscan(points, eps=1, min_points=3).tolist() == [[1, 0, 0, 0, 1, 1, 1]] == reference(points, 1, 3)


@pytest.mark.parametrize("eps", [1.0, math.sqrt(2), math.sqrt(3), 2.0, math.sqrt(8), 5.0])
@pytest.mark.parametrize(("features", "dtype"), [(2, torch.float64), (20, torch.float64), (20, torch.float32)])
def test_exact_ties_at_eps_on_integer_grids(eps, features, dtype):
    generator = torch.Generator().manual_seed(0)
    for min_points in (1, 3, 4, 5, 6, 9):
        points = torch.zeros(8, 60, features, dtype=dtype)
        points[..., :3] = torch.randint(0, 6, (8, 60, min(features, 3)), generator=generator).to(dtype)
        assert dbscan(points, eps, min_points).tolist() == reference(points, eps, min_points)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled", "from both ends"])
def test_long_chains_are_one_cluster_found_in_few_rounds(order, monkeypatch):
    rounds = []
    smallest = module.smallest
    monkeypatch.setattr(module, "smallest", lambda *args: rounds.append(1) or smallest(*args))
    positions = {
        "ascending": torch.arange(500),
        "descending": torch.arange(500).flip(0),
        "shuffled": torch.randperm(500, generator=torch.Generator().manual_seed(1)),
        "from both ends": torch.stack([torch.arange(250), torch.arange(499, 249, -1)], 1).flatten(),
    }[order]
    assert (dbscan(positions[None, :, None].float(), eps=1, min_points=2) == 0).all()
    assert len(rounds) <= 12  # about log2(500) + 2, where handing labels on one by one takes 500
    broken = positions[positions != 300]
    expected = (broken > 300) == (broken[0] > 300)
    assert dbscan(broken[None, :, None].float(), eps=1, min_points=2)[0].tolist() == (~expected).long().tolist()


def test_two_hundred_random_inputs_equal_scikit_learn():
    found = set()
    for points, eps, min_points in random_sets(0):
        expected = reference(points, eps, min_points)
        assert dbscan(points, eps, min_points).tolist() == expected
        found |= {max(labels) for labels in expected}
    assert {-1, 0, 1, 2, 3} <= found  # the inputs are worth something: none, one and several clusters


@pytest.mark.parametrize("offset", [1e-9, 3e-8, 1e-7])
def test_pairs_that_nearly_tie_with_eps(offset):
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(4, 40, 64, generator=generator)
    distances = torch.cdist(points.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    for distance in distances[:, :6, 30].flatten().tolist():
        for eps in (distance * (1 - offset), distance * (1 + offset)):
            assert dbscan(points, eps, 5).tolist() == reference(points, eps, 5)


def test_duplicates_all_noise_and_a_single_point():
    same = torch.full((1, 9, 4), 0.3)
    assert dbscan(same, eps=0.1, min_points=9).tolist() == [[0] * 9]
    assert dbscan(same, eps=0.1, min_points=10).tolist() == [[-1] * 9]
    assert dbscan(torch.eye(6)[None], eps=1, min_points=2).tolist() == [[-1] * 6]
    assert dbscan(torch.eye(6)[None], eps=1, min_points=1).tolist() == [list(range(6))]
    assert dbscan(torch.ones(1, 1, 3), eps=1, min_points=1).tolist() == [[0]]
    assert dbscan(torch.ones(1, 1, 3), eps=1, min_points=2).tolist() == [[-1]]


def test_a_batch_equals_its_members_alone():
    points = torch.randint(0, 6, (5, 40, 3), generator=torch.Generator().manual_seed(2)).float()
    points[3] *= 100  # all noise beside sets with clusters
    together = dbscan(points, eps=1.5, min_points=4)
    assert together.dtype == torch.int64
    assert torch.equal(together, torch.cat([dbscan(one[None], eps=1.5, min_points=4) for one in points]))
    assert (together[3] == -1).all()
    assert (together[0] >= 0).any()


def test_rejects_what_it_cannot_cluster():
    with pytest.raises(ValueError, match=r"\(B, N, F\), not \(4, 2\)"):
        dbscan(torch.ones(4, 2), eps=1, min_points=1)
    for eps, min_points in ((0, 3), (-1, 3), (math.nan, 3), (1, 0)):
        with pytest.raises(ValueError, match="eps must be above 0 and min_points at least 1"):
            dbscan(torch.ones(1, 4, 2), eps, min_points)
