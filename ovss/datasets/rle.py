"""COCO's run lengths: masks as runs of zeros and ones in turn, column by column. Imports numpy only.

The runs are read and summed before a pixel is written. pycocotools' decoder trusts them, and in older versions runs
that are longer than the picture write outside it; the tests hold the two equal on runs that fit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

_MAX_CHARACTERS = 7  # of 5 bits, in a number: more than a picture of 10,000 x 10,000 needs


def read_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Lengths of the runs, zeros first, of a picture of `size` (height, width): (R,) int64 that sum to its pixels.

    Args:
        segmentation: {"size": [height, width], "counts": list of lengths, or their compressed string}.

    Raises:
        ValueError: another size, or runs that are damaged or do not sum to height x width.
    """
    if segmentation.get("size") != list(size):
        raise ValueError(f"a mask of size {segmentation.get('size')} in a picture of {list(size)} (height, width)")
    counts, pixels = segmentation.get("counts"), size[0] * size[1]
    runs = decompress(counts).tolist() if isinstance(counts, str) else counts
    if not isinstance(runs, list) or any(type(run) is not int or run < 0 for run in runs):
        raise ValueError("a mask whose run lengths are neither a string nor a list of numbers from 0")
    if sum(runs) != pixels:
        raise ValueError(f"a mask whose runs sum to {sum(runs)}, not to {size[0]} x {size[1]} = {pixels}")
    return np.array(runs, np.int64)


def decompress(counts: str) -> np.ndarray:
    """Run lengths from COCO's string, (R,) int64; a damaged one may give lengths below 0.

    A character has an offset of 48 and 5 bits of a number, the lowest first; bit 5 says that more follow, and bit 4 of
    the last is the sign. From the fourth on, numbers are differences to the length two before.

    Source: maskApi.c of cocodataset/cocoapi.
    """
    codes = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63:
        raise ValueError("a mask whose string of run lengths is damaged")
    lasts = np.flatnonzero(codes & 32 == 0)
    if lasts[-1:].tolist() != [len(codes) - 1]:
        raise ValueError("a mask whose string of run lengths ends in the middle of one")
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    lengths = lasts - firsts + 1
    if lengths.max() > _MAX_CHARACTERS:
        raise ValueError("a mask whose string of run lengths is damaged: a number of too many characters")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(firsts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, firsts)
    numbers -= (codes[lasts] >> 4 & 1) << 5 * lengths
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def paint(canvas: np.ndarray, runs: np.ndarray, value: int) -> None:
    """Set the pixels of a mask.

    Args:
        canvas: (W, H) contiguous, the transposed picture: runs go down its columns. Changed in place.
        runs: (R,) lengths that sum to its pixels, as from `read_runs`.
    """
    ones = np.arange(len(runs)) % 2 == 1
    canvas.reshape(-1)[np.repeat(ones, runs)] = value
