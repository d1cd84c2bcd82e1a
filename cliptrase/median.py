"""Median filter of many maps at once, in torch: min and max of shifted planes. Imports torch only.

The sorted values of neighbouring pixels are shared between the windows that contain them: runs of 1, 2, 4 ... pixels
are merged, down the columns first, then along the rows. About 300 operations on planes give the median of 7 x 7,
with the same operations on every device; on a CPU about 6 to 8 times faster than scipy.
"""

import torch
from torch import Tensor

# Pixels filtered together: about 75 planes of that size are alive. On a CPU they should stay in the cache.
CPU_PIXELS, DEVICE_PIXELS = 1 << 16, 1 << 20


def median_filter(maps: Tensor, size: int = 7) -> Tensor:
    """Median of the `size` x `size` window around each pixel; equal to scipy's `median_filter(mode="reflect")`.

    Beyond the border the map is mirrored, with the border pixel itself repeated: (d c b a | a b c d | d c b a).

    Args:
        maps: (..., H, W) finite numbers, each map filtered on its own.
        size: odd side of the window in pixels; it may exceed the map.

    Returns:
        (..., H, W), values taken from `maps`.

    Raises:
        ValueError: fewer than two dimensions, or an even size or one below 1.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the window of a median filter must be odd and at least 1 pixel, not {size}")
    if maps.dim() < 2:
        raise ValueError(f"maps must have the shape (..., H, W), not {tuple(maps.shape)}")
    height, width = maps.shape[-2:]
    pixels = CPU_PIXELS if maps.device.type == "cpu" else DEVICE_PIXELS
    chunks = maps.reshape(-1, height, width).split(max(1, pixels // max(1, height * width)))
    return torch.cat([filter_together(chunk, size) for chunk in chunks]).reshape(maps.shape)


def filter_together(maps: Tensor, size: int) -> Tensor:
    """`median_filter` of maps (M, H, W), all at once."""
    height, width = maps.shape[-2:]
    padded = maps[:, _mirror(height, size // 2, maps.device)][:, :, _mirror(width, size // 2, maps.device)]
    rows = _Runs([padded], dim=-2)
    columns = _Runs(_merge(*rows.halves(size)), dim=-1)
    return _select(*columns.halves(size), rank=size * size // 2)


def _mirror(length: int, margin: int, device: torch.device) -> Tensor:
    """Indices of a line of `length` pixels with `margin` mirrored pixels on both sides."""
    index = torch.arange(-margin, length + margin, device=device) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


class _Runs:
    """Sorted values of neighbouring pixels along one dimension.

    A sorted run is a list of planes, smallest values first: plane i holds, for each start, the i-th smallest value.
    """

    def __init__(self, planes: list[Tensor], dim: int):
        self.dim = dim
        self.runs = {1: planes}

    def run(self, length: int) -> list[Tensor]:
        """The sorted values of `length` pixels from each start on."""
        if length not in self.runs:
            self.runs[length] = _merge(*self.halves(length))
        return self.runs[length]

    def halves(self, length: int) -> tuple[list[Tensor], list[Tensor]]:
        """Two sorted runs that together hold the values of `length` pixels from each start on."""
        if length == 1:
            return self.run(1), []
        second = length // 2
        first = length - second
        starts = self.run(1)[0].shape[self.dim] - length + 1
        return (
            [plane.narrow(self.dim, 0, starts) for plane in self.run(first)],
            [plane.narrow(self.dim, first, starts) for plane in self.run(second)],
        )


def _merge(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    """Merge two sorted lists of planes by Batcher's odd-even network (Knuth, TAOCP volume 3, 5.3.4)."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        return [torch.minimum(a[0], b[0]), torch.maximum(a[0], b[0])]
    even, odd = _merge(a[::2], b[::2]), _merge(a[1::2], b[1::2])
    merged = even[:1]
    for high, low in zip(odd, even[1:], strict=False):
        merged += [torch.minimum(high, low), torch.maximum(high, low)]
    return merged + even[1 + len(odd) :] + odd[len(even) - 1 :]


def _select(a: list[Tensor], b: list[Tensor], rank: int) -> Tensor:
    """The value of that rank (from 0) in two sorted lists together.

    It is the smallest, over all ways to take rank + 1 values from the two fronts, of the largest value taken.
    """
    taken = rank + 1
    candidates = []
    for from_a in range(max(0, taken - len(b)), min(taken, len(a)) + 1):
        last = [run[count - 1] for run, count in ((a, from_a), (b, taken - from_a)) if count]
        candidates.append(last[0] if len(last) == 1 else torch.maximum(*last))
    smallest = candidates[0]
    for candidate in candidates[1:]:
        smallest = torch.minimum(smallest, candidate)
    return smallest
