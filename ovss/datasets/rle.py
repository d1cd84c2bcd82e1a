"""COCO's run lengths: masks as runs of zeros and ones in turn, column by column. Imports numpy only.

The runs are read and summed before a pixel is written. pycocotools' decoder trusts them, and in older versions runs
that are longer than the picture write outside it; the tests hold the two equal on runs that fit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_MAX_CHUNKS = 7  # of 5 bits: more than any run of a picture that is opened here


def read_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> list[int]:
    """Lengths of the runs, zeros first, of a picture of `size` (height, width).

    Args:
        segmentation: {"size": [height, width], "counts": list of lengths, or their compressed string}.

    Raises:
        ValueError: another size, or runs that are damaged or do not sum to height x width.
    """
    if segmentation.get("size") != list(size):
        raise ValueError(f"a mask of size {segmentation.get('size')} in a picture of {list(size)} (height, width)")
    counts = segmentation.get("counts")
    runs = decompress(counts) if isinstance(counts, str | bytes) else counts
    if not isinstance(runs, Sequence) or any(type(run) is not int or run < 0 for run in runs):
        raise ValueError("a mask whose run lengths are neither a string nor a list of numbers from 0")
    if sum(runs) != size[0] * size[1]:
        raise ValueError(f"a mask whose runs sum to {sum(runs)}, not to {size[0]} x {size[1]} = {size[0] * size[1]}")
    return list(runs)


def decompress(counts: str | bytes) -> list[int]:
    """Run lengths from COCO's string; a damaged one may give lengths below 0.

    A character has an offset of 48 and 5 bits of a number, the lowest first; bit 5 says that more follow, and bit 4 of
    the last is the sign. From the fourth on, numbers are differences to the length two before.

    Source: maskApi.c of cocodataset/cocoapi.
    """
    codes = counts.encode() if isinstance(counts, str) else counts
    runs: list[int] = []
    value = chunks = 0
    for code in codes:
        code -= 48
        if not 0 <= code < 64 or chunks == _MAX_CHUNKS:
            raise ValueError("a mask whose string of run lengths is damaged")
        value |= (code & 31) << 5 * chunks
        chunks += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << 5 * chunks
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = chunks = 0
    if chunks:
        raise ValueError("a mask whose string of run lengths ends in the middle of one")
    return runs


def paint(canvas: np.ndarray, runs: Sequence[int], value: int) -> None:
    """Set the pixels of a mask.

    Args:
        canvas: (W, H) contiguous, the transposed picture: runs go down its columns. Changed in place.
        runs: lengths as `read_runs` returns them, which sum to its pixels.
    """
    flat = canvas.reshape(-1)
    ends = np.cumsum(runs)
    for start, end in zip(ends[0::2], ends[1::2], strict=False):
        flat[start:end] = value
