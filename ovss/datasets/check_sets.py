"""The work of `ovss datasets check`: one table of all sets that are asked for, pairs drawn, and what is wrong.

Imports numpy, Pillow and tqdm.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ovss.datasets.check import State, class_names, look, mistake, read_pair
from ovss.datasets.parallel import cores, map_in_order
from ovss.datasets.preparations import PREPARATIONS
from ovss.datasets.table import BENCHMARKS, Benchmark
from ovss.files import write_atomic
from ovss.visualize import contact_sheet, overlay

DRAWN = 3  # pairs of a set
COLUMNS = ("data set", "sources", "prepared", "pictures", "official", "next")


def check_sets(args: argparse.Namespace) -> int:
    """Report on the sets of `args.names`, by default all; the exit code is 1 where one that was named is not ready.

    Raises:
        ValueError: an unknown name.
        OSError: the folder of drawings cannot be written.
    """
    states = [look(row, args.root) for row in _rows(args.names)]
    print(f"below {args.root.absolute()}:\n")
    print(_table([_cells(state) for state in states]), end="\n\n", flush=True)
    ready = True
    for state in states:
        for failure in _failures(state, args):
            ready = False
            tqdm.write(f"ovss: {state.row.name}: {failure}", file=sys.stderr)
    return 1 if args.names and not ready else 0


def _rows(names: Sequence[str]) -> list[Benchmark]:
    """The rows that are called by one of `names`, all where none is given, in the order of the table."""
    for name in names:
        if not any(_is_called(row, name) for row in BENCHMARKS):
            raise ValueError(f"no data set {name!r}; there are {', '.join(row.name for row in BENCHMARKS)}")
    return [row for row in BENCHMARKS if not names or any(_is_called(row, name) for name in names)]


def _is_called(row: Benchmark, name: str) -> bool:
    """By its own or an official name, or by the preparation that makes it unasked."""
    return name in row.all_names or (name == row.preparation and row.split in PREPARATIONS[name].default)


def _cells(state: State) -> tuple[str, ...]:
    """One line of the table, see `COLUMNS`."""
    row = state.row
    step = f"ovss datasets download {row.preparation}" if state.missing else row.prepare_command
    return (
        row.name,
        ("yes", "part", "no")[len(state.missing)],
        "no" if state.labels is None else "broken" if state.problem else "yes" if state.whole else "part",
        f"{state.count:,}" if state.count else "",
        f"{row.pictures:,}",
        "" if state.whole else step,
    )


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Markdown, in columns of equal width."""
    rows = [COLUMNS, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    text = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def _failures(state: State, args: argparse.Namespace) -> Iterator[str]:
    """What keeps a set from being ready; draws some of its pairs on the way. An absent one counts where it is named."""
    if state.labels is None:
        if args.names:
            yield "not prepared" + "".join(f"; no {path}" for path in state.missing)
        return
    if state.problem:
        yield state.problem
    elif not state.whole:
        yield f"{state.count:,} of {state.row.pictures:,} pictures: not the whole benchmark"
    sample = random.Random(state.row.name).sample(state.pairs, min(DRAWN, len(state.pairs)))
    yield from _mistakes(state, sample, workers=1)
    if args.all_files:
        yield from _mistakes(state, [pair for pair in state.pairs if pair not in sample], cores())
    sound = [pair for pair in sample if not mistake(state.row, pair)]
    if sound:
        args.output.mkdir(parents=True, exist_ok=True)
        path = args.output / f"{state.row.name}.png"
        write_atomic(path, partial(draw(state.row, sound).save, format="PNG"))
        print(f"{state.row.name}: {len(sound)} of the pairs in {state.labels} are drawn in {path}", flush=True)


def _mistakes(state: State, pairs: Sequence[Mapping[str, str]], workers: int) -> Iterator[str]:
    check = partial(mistake, state.row)
    with (
        tqdm(total=len(pairs), unit="pair", desc=state.row.name, disable=None) as bar,
        closing(map_in_order(check, pairs, workers)) as results,
    ):
        for found in results:
            bar.update()
            if found:
                yield found


def draw(row: Benchmark, pairs: Sequence[Mapping[str, str]]) -> Image.Image:
    """Pictures in one line, below them the same with their labels and the names of the classes; no label is no tint."""
    read = [read_pair(row, pair) for pair in pairs]
    names = class_names(row)
    overlays = [overlay(image, labels, names, background=row.ignore_label) for image, labels in read]
    titles = [f"{row.name} {Path(pair['file_name']).name}" for pair in pairs]
    labels = [Path(pair["sem_seg_file_name"]).name for pair in pairs]
    return contact_sheet([*(image for image, _ in read), *overlays], titles + labels, columns=len(pairs))
