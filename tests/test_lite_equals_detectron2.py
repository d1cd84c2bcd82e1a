"""Lite equals Detectron2 where that is at hand: defaults, resizing, shares of the processes, pairs of files."""

import numpy as np
import pytest

from ovss.d2.lite import transforms as lite_T
from ovss.d2.lite.config import get_cfg
from ovss.d2.lite.loader import share

pytest.importorskip("detectron2", reason="compares lite with Detectron2, which is not installed")


def test_every_default_is_detectron2s():
    from detectron2.config import get_cfg as real_get_cfg

    def flat(node, prefix=""):
        for key, value in node.items():
            yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]

    real = dict(flat(real_get_cfg()))
    assert {key: real[key] for key, _ in flat(get_cfg())} == dict(flat(get_cfg()))


def test_resize_equals_detectron2_pixel_for_pixel():
    from detectron2.data import transforms as real_T

    rng = np.random.default_rng(1)
    for _ in range(40):
        height, width = rng.integers(3, 90, 2)
        short, longest = int(rng.integers(1, 120)), int(rng.integers(40, 200))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        pair = []
        for T in (lite_T, real_T):
            one = T.AugInput(image, sem_seg=image[..., 0])
            transform = T.AugmentationList([T.ResizeShortestEdge(short, longest)])(one)
            floats = [transform.apply_image(array) for array in (image / 255, image[..., 0] / 255)]
            thin = transform.apply_image(image[..., :1])
            points = transform.apply_coords(np.asarray([[1.0, 2.0]]))
            pair.append((one.image, one.sem_seg, *floats, thin, points))
        for ours, theirs in zip(*pair, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_output_shape_equals_detectron2_for_many_sizes():
    from detectron2.data.transforms import ResizeShortestEdge as Real

    rng = np.random.default_rng(2)
    for height, width, short, longest in rng.integers(1, 3000, (20000, 4)).tolist():
        ours = lite_T.ResizeShortestEdge.get_output_shape(height, width, short, longest)
        assert ours == Real.get_output_shape(height, width, short, longest)


def test_random_sizes_equal_detectron2_for_the_same_seed():
    from detectron2.data import transforms as real_T

    image = np.zeros((30, 40, 3), np.uint8)
    for lengths, style in (((10, 50), "range"), ((10, 20, 30), "choice")):
        sizes = []
        for T in (lite_T, real_T):
            np.random.seed(3)  # noqa: NPY002 (the generator that both draw from)
            policy = T.ResizeShortestEdge(lengths, sample_style=style)
            sizes.append([policy(T.AugInput(image)).new_h for _ in range(20)])
        assert sizes[0] == sizes[1]
        assert len(set(sizes[0])) > 1


def test_share_equals_detectron2():
    from detectron2.data.samplers import InferenceSampler as Real

    for size in range(1, 40):
        for world_size in range(1, 10):
            for rank in range(world_size):
                theirs = Real._get_local_indices(size, world_size, rank)
                assert list(share(size, world_size, rank)) == list(theirs)
