"""The engine of preparation: a plan of files is carried out on all cores, and again where a run was interrupted.

It alone writes, keeps, checks and reports files. Imports numpy and Pillow (ovss/images.py) and tqdm.
"""

import sys
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovss.datasets.parallel import map_in_order
from ovss.datasets.plan import Item, Plan
from ovss.datasets.prepared_files import encode, whole_size
from ovss.files import remove_half_written, write_atomic
from ovss.images import ImageError, image_size


@dataclass(frozen=True)
class Made:
    """What became of one item: numbers of its outputs, and what there is to say."""

    written: int = 0
    kept: int = 0
    left_out: int = 0
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What a run did: numbers of files, and the messages of all that failed and of all that should be known."""

    written: int = 0
    kept: int = 0
    left_out: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(plan: Plan, workers: int, overwrite: bool = False) -> Outcome:
    """Carry out a plan; a file that is there and whole is kept, unless `overwrite`. Failures are told as they come.

    Raises:
        OSError: an output cannot be written (full disk, no permission), or a worker process was killed. What was
            written before is whole; the next run goes on from there.
    """
    for folder in plan.folders:
        _open_folder(folder)
    outcome = Outcome(notes=[*plan.notes, *plan.count_notes])
    changed: dict[str, list[Path]] = {}
    with (
        tqdm(plan.items, unit="picture", disable=None) as items,
        closing(map_in_order(partial(make, overwrite=overwrite), plan.items, workers)) as results,
    ):
        for problem in plan.problems:
            _tell(problem, outcome)
        for item, made in zip(items, results, strict=True):
            outcome.written += made.written
            outcome.kept += made.kept
            outcome.left_out += made.left_out
            for failure in made.failures:
                _tell(failure, outcome)
            for note in made.notes:
                changed.setdefault(note, []).append(item.outputs[0])
    outcome.notes += [
        f"{len(outputs)} of {len(plan.items)} pictures: {note}; the first is {outputs[0]}"
        for note, outputs in changed.items()
    ]
    return outcome


def make(item: Item, overwrite: bool) -> Made:
    """Write those outputs of an item that are not there or not whole, and compare them with its picture."""
    sizes = {output: None if overwrite else whole_size(output) for output in item.outputs}
    kept = sum(size is not None for size in sizes.values())
    written, left_out = 0, 0
    notes: tuple[str, ...] = ()
    if kept < len(sizes):
        try:
            arrays, notes = _produce(item)
        except (ValueError, OSError) as error:
            return Made(kept=kept, failures=(str(error),))
        for output, array in zip(item.outputs, arrays, strict=True):
            if array is None:
                left_out += 1
            elif sizes[output] is None:
                _write(output, encode(array, output.suffix))
                sizes[output] = array.shape[:2]
                written += 1
    return Made(written, kept, left_out, _picture_failures(item, sizes), notes)


def _produce(item: Item) -> tuple[Sequence[np.ndarray | None], tuple[str, ...]]:
    """The arrays of an item, and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        arrays = item.produce()
    return arrays, tuple(dict.fromkeys(str(warning.message) for warning in caught))


def _picture_failures(item: Item, sizes: dict[Path, tuple[int, int] | None]) -> tuple[str, ...]:
    if item.picture is None:
        return ()
    try:
        height, width = image_size(item.picture)
    except ImageError as error:
        return (f"{error}; it is the picture of {item.outputs[0]}",)
    return tuple(
        f"{output} is {size[1]} x {size[0]} px, its picture {item.picture} {width} x {height} px: they must be equal"
        for output, size in sizes.items()
        if size not in (None, (height, width))
    )


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, lambda file: file.write(content))
    except OSError as error:
        raise _no_writing(path, error) from error


def _open_folder(folder: Path) -> None:
    """Make a folder of outputs, or clear it of what killed runs left half-written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_half_written(folder)
    except OSError as error:
        raise _no_writing(folder, error) from error


def _no_writing(path: Path, error: OSError) -> OSError:
    return OSError(f"{path}: cannot be written ({error.strerror}); files before it are whole, run again to go on")


def _tell(failure: str, outcome: Outcome) -> None:
    outcome.failures.append(failure)
    tqdm.write(f"ovss: failed: {failure}", file=sys.stderr)
