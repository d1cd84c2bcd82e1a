"""What a bulk run has to do: files in, a name for the results of each, and which are done. Imports Pillow and numpy.

A file is done when its NAME.json says so, which is written last.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ovss.images import SUFFIXES, find_images
from ovss.outputs import PICTURE, VIDEO, read_record

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
TABLE_SUFFIX = ".parquet"
STANDARD_INPUT = "-"
LONGEST_STEM = 200  # bytes; file systems take 255 for a whole name
# Names of files that are about all pictures (`ovss.bulk.coco`).
RESERVED = ("coco_panoptic", "coco_segments")


class Job(NamedTuple):
    """One file, the name that its results begin with, and its content where that is in memory, of a table's row."""

    path: Path
    stem: str
    content: bytes | None = None

    @property
    def is_video(self) -> bool:
        return self.content is None and self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def is_table(self) -> bool:
        """Whether it is a table of pictures, each of which gets a name of its own (`ovss.bulk.ray_cluster`)."""
        return self.path.suffix.lower() == TABLE_SUFFIX

    def targets(self, folder: Path, outputs: Sequence[str]) -> list[Path]:
        """NAME.json and what else is written of this file."""
        suffixes = VIDEO if self.is_video else PICTURE
        return [folder / f"{self.stem}{end}" for end in (".json", *filter(None, map(suffixes.get, outputs)))]

    def state(self) -> list[int] | None:
        """Size and time of the file; None where there is none."""
        try:
            stat = None if self.content is not None else self.path.stat()
        except (OSError, ValueError):  # gone, or a name that no file has
            return None
        return stat and [stat.st_size, stat.st_mtime_ns]


def find_jobs(inputs: Sequence[str]) -> list[Job]:
    """The pictures and videos of files, folders, patterns, and of the list on standard input that "-" stands for.

    Raises:
        ImageError: an input that is not there, matches nothing, or is a folder without pictures.
    """
    paths = find_images((entry for entry in inputs if entry != STANDARD_INPUT), SUFFIXES + VIDEO_SUFFIXES)
    if STANDARD_INPUT in inputs:
        listed = listed_paths(os.fsdecode(sys.stdin.buffer.read()))
        if not listed:
            raise ValueError(f"--input {STANDARD_INPUT}: nothing on standard input, expected a path on each line")
        paths = list(dict.fromkeys([*paths, *listed]))
    return [Job(path, stem) for path, stem in zip(paths, unique_stems(paths), strict=True)]


def listed_paths(text: str) -> list[Path]:
    """The paths of a list: one a line, or between NUL characters where there are any (`find -print0`)."""
    entries = text.split("\0") if "\0" in text else [line.removesuffix("\r") for line in text.split("\n")]
    return [Path(entry) for entry in entries if entry]


def unique_stems(paths: Iterable[Path]) -> list[str]:
    """One name for each file: its stem, or stem_2, stem_3, ... where an earlier file has it, in upper or lower case."""
    taken = set(RESERVED)
    stems = []
    for path in paths:
        own = stem_of(path)
        stem, number = own, 1
        while stem.lower() in taken:
            number += 1
            stem = f"{own}_{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def stem_of(path: Path) -> str:
    """A file's stem, or of one that leaves no room for what is added to it the beginning.

    What is no text in it, or in no file's name, becomes a question mark.
    """
    text = os.fsencode(path.stem)[:LONGEST_STEM].decode("utf-8", "replace")
    return text.replace("\ufffd", "?").replace("\0", "?")


def mark(job: Job, run: str, outputs: Sequence[str]) -> dict[str, Any]:
    """What NAME.json holds for `is_done`: to be taken before the file is read, which may change meanwhile."""
    return {"run": run, "outputs": list(outputs), "state": job.state()}


def is_done(job: Job, folder: Path, run: str, outputs: Sequence[str]) -> bool:
    """Whether an earlier run of the same model and words (`Predictor.run_key`) wrote all `outputs` of this very file.

    A file that has changed since, in size or time, is not done; one that is gone may be.
    """
    target, *others = job.targets(folder, outputs)
    record = read_record(target)
    try:
        same = record["file"] == str(job.path) and record["run"] == run and set(outputs) <= set(record["outputs"])
        same = same and job.state() in (None, record["state"])
    except (KeyError, TypeError):
        return False
    return same and all(path.exists() for path in others)


def check_inputs_stay(jobs: Sequence[Job], folder: Path, outputs: Sequence[str]) -> None:
    """Raise ValueError where a result would be written over one of the files that are to be read."""
    inputs = {job.path.resolve() for job in jobs}
    if not any(path.parent == folder.resolve() for path in inputs):
        return
    for job in jobs:
        for path in job.targets(folder, outputs):
            if path.resolve() in inputs:
                raise ValueError(
                    f"the results of {job.path} would overwrite {path}, which is an input: give another --output"
                )


def check_targets(jobs: Iterable[Job], folder: Path, outputs: Sequence[str], resume: bool) -> None:
    """Raise ValueError where a result would be written over what no earlier run has written.

    NAME.json says what a run has written. Of files without one, a resumed run takes it that they are of a run that was
    stopped; of a folder it never does.
    """
    for job in jobs:
        target, *others = job.targets(folder, outputs)
        record = read_record(target) if target.exists() else {}
        of_a_film = "frames" in record and "labels" in record.get("outputs", ())
        for path in filter(Path.exists, (target, *others)):
            ours = of_a_film if path.is_dir() else bool(record) or (resume and path != target)
            if not ours:
                raise ValueError(f"{path} is there, and of no earlier run: move it away, or give another --output")
