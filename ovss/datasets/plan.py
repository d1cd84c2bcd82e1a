"""What preparation is to do, as data: items, each the files that come from one source. Imports numpy for its types.

A set's module (coco_stuff.py, voc.py, ...) has `plan(root, split) -> Plan`; prepare.py carries it out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Item:
    """The files that come from one source.

    Attributes:
        outputs: what is written; the suffix says as what (prepared_files.py).
        produce: a picklable partial of a module's function, run in a worker process. Returns one array for each output,
            or None for one that is left out. Raises ValueError or OSError, naming the file, for a source that is
            missing or wrong. May call `warnings.warn` about values that it had to change; the text is the same
            for all files, so that they can be counted, and names none.
        picture: must be there and of the outputs' size; None where the outputs hold the picture themselves.
    """

    outputs: tuple[Path, ...]
    produce: Callable[[], Sequence[np.ndarray | None]]
    picture: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be made of one split.

    Attributes:
        items: all files, in order.
        expected: how many items the official set has.
        sources: folders and files that are read.
        notes: what the user should know; the exit code stays 0.
        problems: what is wrong with the sources beside the items, such as a picture without a label image.
    """

    items: Sequence[Item]
    expected: int
    sources: Sequence[Path] = ()
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def folders(self) -> list[Path]:
        """Where the outputs go, in order."""
        return list(dict.fromkeys(output.parent for item in self.items for output in item.outputs))

    @property
    def count_notes(self) -> list[str]:
        """What there is to say of the number of items."""
        count = len(self.items)
        if count == self.expected:
            return []
        reason = "not the whole benchmark" if count < self.expected else "more than the benchmark has"
        return [f"{count:,} of {self.expected:,} pictures: {reason}"]

    def outputs_there(self) -> Iterator[tuple[Path, int, int]]:
        """For each folder of outputs: how many there are to be, and how many are there, whole or not."""
        for folder in self.folders:
            outputs = [output for item in self.items for output in item.outputs if output.parent == folder]
            yield folder, len(outputs), sum(output.is_file() for output in outputs)
