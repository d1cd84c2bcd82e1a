"""What a report says of an evaluation, worked out from its counts. Imports numpy only.

K classes; counts[i, j] is the number of pixels of true class i that were given class j.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ovss.report.examples import Example


@dataclass(frozen=True)
class Findings:
    """An evaluation, as its report shows it. Scores are in percent; nan where nothing defines one.

    `scores` by name, `IoU` and `accuracy` per class are those of `ovss.metrics.Scores`; `facts` is what was run, by
    name; `pictures` holds the mIoU_gt of every picture by file; `colours` (K,3) uint8; `best` and `worst` are in the
    order in which they are shown; pixels of `ignore_label` were not scored.
    """

    dataset: str
    date: str
    facts: Mapping[str, str]
    scores: Mapping[str, float]
    classes: Sequence[str]
    colours: np.ndarray
    counts: np.ndarray
    IoU: Sequence[float]
    accuracy: Sequence[float]
    pictures: Mapping[str, float]
    best: Sequence[Example]
    worst: Sequence[Example]
    ignore_label: int

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of every class in the ground truth, (K,)."""
        return self.counts.sum(axis=1)

    @property
    def predicted(self) -> np.ndarray:
        """Pixels that were given each class, (K,)."""
        return self.counts.sum(axis=0)

    def ranked(self) -> list[int]:
        """The classes in the ground truth, highest IoU first; of equal ones that with fewer pixels, then by index.

        The end of the list is the part to look at: classes that fail and have many pixels.
        """
        present = np.flatnonzero(self.pixels)
        return sorted(present.tolist(), key=lambda index: (-self.IoU[index], self.pixels[index], index))

    def taken_for(self, index: int, most: int = 3) -> list[tuple[int, float]]:
        """The classes that a class is most often taken for, and their share of its pixels in percent."""
        row = self.counts[index].copy()
        total = row.sum()
        row[index] = 0
        order = np.argsort(-row, kind="stable")[:most]
        return [(int(other), float(100 * row[other] / total)) for other in order if row[other] > 0]

    def given_to(self, chosen: Sequence[int], most: int) -> list[int]:
        """The classes that the pixels of the chosen ones are given on average most, at most that many.

        Those among the chosen come first and in their order, so that what is right lies near the diagonal.
        """
        shares = (self.counts[list(chosen)] / self.pixels[list(chosen), None]).sum(axis=0)
        given = [int(index) for index in np.argsort(-shares, kind="stable")[:most] if shares[index] > 0]
        return [index for index in chosen if index in given] + [index for index in given if index not in chosen]

    def confusion(self, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
        """What share of the pixels of each true class was given which class, in percent.

        (n, m + 1): row i is class `rows[i]`, which has pixels; the last column is all classes but `columns`, so that
        every row adds up to 100.
        """
        inside = self.counts[np.ix_(rows, columns)].astype(np.float64)
        total = self.pixels[list(rows)].astype(np.float64)
        return 100 * np.column_stack([inside, total - inside.sum(axis=1)]) / total[:, None]
