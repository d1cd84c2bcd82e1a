"""cliptrase/median.py against scipy, bit for bit."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cliptrase import median
from cliptrase.median import median_filter


def reference(maps: torch.Tensor, size: int) -> np.ndarray:
    flat = maps.reshape(-1, *maps.shape[-2:]).numpy()
    return np.stack([ndimage.median_filter(one, size=size, mode="reflect") for one in flat]).reshape(maps.shape)


def test_by_hand():
    spike = torch.tensor([[1.0, 2.0, 3.0], [4.0, 90.0, 6.0], [7.0, 8.0, 9.0]])
    # The window of the corner holds 1 four times, 2 and 4 twice, 90 once; that of the centre all nine values.
    assert median_filter(spike, 3)[0, 0] == 2
    assert median_filter(spike, 3)[1, 1] == 6
    assert torch.equal(median_filter(spike, 1), spike)


@pytest.mark.parametrize("shape", [(3, 84, 84), (2, 3, 20, 31), (40, 60), (5, 64, 9), (1, 1, 1), (2, 1, 30), (1, 2, 3)])
@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_equals_scipy(shape, size):
    generator = torch.Generator().manual_seed(size)
    continuous = torch.randn(shape, generator=generator)
    with_ties = torch.randint(-2, 3, shape, generator=generator).float()
    for maps in (continuous, with_ties, continuous.double()):
        filtered = median_filter(maps, size)
        assert filtered.dtype == maps.dtype
        np.testing.assert_array_equal(filtered.numpy(), reference(maps, size))


def test_every_pattern_of_two_values_in_a_window():
    # A selection by comparisons that is right for all zeros and ones is right for all numbers (the 0-1 principle).
    patterns = ((torch.arange(2**9)[:, None] >> torch.arange(9)) & 1).float()
    middle = median_filter(patterns.view(-1, 3, 3), 3)[:, 1, 1]
    assert torch.equal(middle, (patterns.sum(1) >= 5).float())


def test_chunks_do_not_show(monkeypatch):
    maps = torch.randn(11, 13, 17, generator=torch.Generator().manual_seed(0))
    whole = median_filter(maps)
    for pixels in (1, 500, 13 * 17 * 4):
        monkeypatch.setattr(median, "CPU_PIXELS", pixels)
        assert torch.equal(median_filter(maps), whole)


def test_leaves_its_input_alone():
    maps = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    before = maps.clone()
    median_filter(maps)
    assert torch.equal(maps, before)


def test_rejects_even_windows_and_vectors():
    with pytest.raises(ValueError, match="odd and at least 1 pixel, not 4"):
        median_filter(torch.ones(5, 5), 4)
    with pytest.raises(ValueError, match="not -1"):
        median_filter(torch.ones(5, 5), -1)
    with pytest.raises(ValueError, match=r"\(\.\.\., H, W\), not \(5,\)"):
        median_filter(torch.ones(5))
