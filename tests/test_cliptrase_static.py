"""cliptrase/static.py and static_means.py: each static form equals its eager one, labels exactly."""

import math

import pytest
import torch
from point_sets import random_sets, reference
from test_cliptrase import SETTINGS, build, fitting
from test_regions import random_correlation

from cliptrase import static
from cliptrase.dbscan import dbscan
from cliptrase.means import mean_scores
from cliptrase.model import CLIPtrase, Regions
from cliptrase.regions import assign_regions, region_maps, vote
from cliptrase.static import most_clusters, static_dbscan, static_regions, static_vote
from cliptrase.static_means import StaticMeans
from ovss.inference import merge_rows
from ovss.labels import resize

SYNONYMS = torch.tensor([0, 1, 1, 2, 3, 3])


def test_two_hundred_random_inputs_equal_scikit_learn():
    found = set()
    for points, eps, min_points in random_sets(1):
        expected = reference(points, eps, min_points)
        assert static_dbscan(points, eps, min_points).tolist() == expected
        found |= {max(labels) for labels in expected}
        assert max(map(max, expected)) < most_clusters(points.shape[1], min_points)
    assert {-1, 0, 1, 2, 3} <= found  # the inputs are worth something: none, one and several clusters


@pytest.mark.parametrize("eps", [1.0, math.sqrt(2), 2.0, 5.0])
def test_exact_ties_at_eps_on_integer_grids(eps):
    generator = torch.Generator().manual_seed(0)
    for min_points in (1, 3, 4, 5, 6, 9):
        points = torch.zeros(8, 60, 20)
        points[..., :3] = torch.randint(0, 6, (8, 60, 3), generator=generator).float()
        assert static_dbscan(points, eps, min_points).tolist() == reference(points, eps, min_points)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 64, 65, 200])
def test_the_longest_chain_is_one_cluster(count):
    points = torch.arange(count)[None, :, None].float()
    assert (static_dbscan(points, eps=1, min_points=min(count, 2)) == 0).all()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    assert (static_dbscan(points[:, order], eps=1, min_points=min(count, 2)) == 0).all()


@pytest.mark.parametrize(("points", "min_points", "most"), [(9, 1, 9), (9, 2, 4), (9, 3, 3), (441, 7, 200), (2, 7, 1)])
def test_most_clusters(points, min_points, most):
    assert most_clusters(points, min_points) == most


def test_clusters_that_share_their_borders_are_within_the_most():
    """Of 4 points within 1: cores at (3i, 0), each with 3 others within reach, of which neighbours share one."""
    cores = torch.arange(0, 30, 2.0)
    between = torch.arange(1, 30, 2.0)
    apart = torch.stack([cores, torch.full_like(cores, 0.9)], dim=1)
    line = torch.cat([torch.stack([torch.cat([cores, between]), torch.zeros(len(cores) + len(between))], 1), apart])
    found = dbscan(line[None], eps=1.0, min_points=4)
    assert found.max() + 1 == 14
    assert 14 <= most_clusters(len(line), 4) == 18


@pytest.mark.parametrize("group", [1, 4, 128])
def test_regions_equal_the_eager_ones(group, monkeypatch):
    monkeypatch.setattr(static, "CLUSTERS_AT_ONCE", group)
    side, size, settings = 9, (40, 52), Regions(eps=0.4, min_points=3, upsample=3, median=5)
    correlation = torch.cat([random_correlation(3, side), torch.eye(side * side)[None]])  # the last image is all noise
    maps, valid = region_maps(correlation, dbscan(correlation, 0.4, 3), (side, side))
    expected = assign_regions(maps, valid, size, 3, 5)
    found = static_regions(correlation, (side, side), size, settings, most_clusters(side * side, 3))
    assert torch.equal(found, expected)
    assert expected.amax((1, 2)).tolist() == [3, 3, 3, -1]


def test_votes_equal_the_eager_ones():
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 4, (3, 13, 17), generator=generator)
    regions = torch.randint(-1, 6, (3, 13, 17), generator=generator)
    regions[2] = -1
    assert torch.equal(static_vote(labels, regions, 7, clusters=11), vote(labels, regions, 7))


@pytest.mark.parametrize("classes", [torch.arange(6), SYNONYMS, torch.tensor([0, 0, 1, 1, 2, 2])])
@pytest.mark.parametrize(
    ("grid", "size"), [((4, 6), (32, 48)), ((4, 6), (33, 47)), ((1, 5), (7, 40)), ((3, 1), (9, 2))]
)
def test_means_are_the_eager_ones(classes, grid, size):
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(3, 6, *grid, generator=generator)
    regions = torch.randint(0, 5, (3, *size), generator=generator)
    regions[1] = -1
    scores = merge_rows(resize(logits, size), classes)
    found = StaticMeans(classes, grid, size, clusters=8)(logits, scores, regions)
    torch.testing.assert_close(found, mean_scores(logits, classes, regions), atol=1e-6, rtol=1e-6)


@pytest.fixture(scope="module")
def clip(varied_clip):
    return varied_clip


@torch.no_grad()
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("classes", [torch.arange(6), SYNONYMS], ids=["words", "synonyms"])
def test_the_whole_model(clip, name, classes):
    model = build(clip, name)
    generator = torch.Generator().manual_seed(5)
    images = fitting(torch.rand(3, 3, 40, 56, generator=generator), model)
    text = torch.nn.functional.normalize(torch.randn(6, 2, 24, generator=generator), dim=-1)
    size = (images.shape[2], images.shape[3])
    found = model.static_form(text, classes, size)(images)
    torch.testing.assert_close(found, model(images, text, classes), atol=1e-4, rtol=1e-4)
    assert torch.equal(found.max(1).indices, model.labels(images, text, classes)[0])


def test_pictures_without_regions_and_with_one(clip):
    text = torch.nn.functional.normalize(torch.randn(4, 1, 24, generator=torch.Generator().manual_seed(1)), dim=-1)
    images = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(2))
    for fusion in ("vote", "mean"):
        for regions in (Regions(eps=1e-6, min_points=2), Regions(eps=1e6, min_points=1)):
            model = CLIPtrase(clip=clip, fusion=fusion, regions=regions)
            with torch.no_grad():
                found = model.static_form(text, torch.arange(4), (40, 56))(images)
                torch.testing.assert_close(found, model(images, text), atol=1e-5, rtol=1e-5)
