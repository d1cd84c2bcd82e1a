"""What a bulk run has to do: files in, a name for the results of each, and which are done. Imports Pillow and numpy.

A file is done when its NAME.json says so, which is written last.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ovss.images import SUFFIXES, find_images
from ovss.outputs import PICTURE, VIDEO

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
STANDARD_INPUT = "-"
LONGEST_STEM = 200  # bytes; file systems take 255 for a whole name
# Names of files that are about all pictures (`ovss.bulk.coco`).
RESERVED = ("coco_panoptic", "coco_segments")


class Job(NamedTuple):
    """One file, and the name that its results begin with."""

    path: Path
    stem: str

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_jobs(inputs: Sequence[str]) -> list[Job]:
    """The pictures and videos of files, folders, patterns, and of the list on standard input that "-" stands for.

    Raises:
        ImageError: an input that is not there, matches nothing, or is a folder without pictures.
    """
    paths = find_images((entry for entry in inputs if entry != STANDARD_INPUT), SUFFIXES + VIDEO_SUFFIXES)
    if STANDARD_INPUT in inputs:
        listed = listed_paths(sys.stdin.read())
        if not listed:
            raise ValueError(f"--input {STANDARD_INPUT}: nothing on standard input, expected a path on each line")
        paths = list(dict.fromkeys([*paths, *listed]))
    return [Job(path, stem) for path, stem in zip(paths, unique_stems(paths), strict=True)]


def listed_paths(text: str) -> list[Path]:
    """The paths of a list: one a line, or between NUL characters where there are any (`find -print0`)."""
    return [Path(entry) for entry in (text.split("\0") if "\0" in text else text.split("\n")) if entry]


def unique_stems(paths: Iterable[Path]) -> list[str]:
    """One name for each file: its stem, or stem_2, stem_3, ... where an earlier file has it, in upper or lower case.

    Of a stem that leaves no room for what is added to it, the beginning; what is no text in it becomes a question mark.
    """
    taken = set(RESERVED)
    stems = []
    for path in paths:
        own = os.fsencode(path.stem)[:LONGEST_STEM].decode("utf-8", "replace").replace("\ufffd", "?")
        stem, number = own, 1
        while stem.lower() in taken:
            number += 1
            stem = f"{own}_{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def is_done(job: Job, folder: Path, run: str, outputs: Sequence[str]) -> bool:
    """Whether an earlier run of the same model and words (`Predictor.run_key`) wrote all `outputs` of this very file.

    A file that has changed since is not done.
    """
    path = folder / f"{job.stem}.json"
    try:
        record = json.loads(path.read_bytes())
        same = record["file"] == str(job.path) and record["run"] == run
        same = same and (not job.path.exists() or job.path.stat().st_mtime_ns <= path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not same or ("rle" in outputs and "rle" not in record):
        return False
    suffixes = VIDEO if job.is_video else PICTURE
    return all((folder / f"{job.stem}{suffixes[name]}").exists() for name in outputs if suffixes[name])


def check_inputs_stay(jobs: Sequence[Job], folder: Path, outputs: Sequence[str]) -> None:
    """Raise ValueError where a result would be written over one of the files that are to be read."""
    inputs = {job.path.resolve() for job in jobs}
    if not any(path.parent == folder.resolve() for path in inputs):
        return
    for job in jobs:
        suffixes = VIDEO if job.is_video else PICTURE
        for suffix in (".json", *(suffixes[name] for name in outputs)):
            if suffix and (folder / f"{job.stem}{suffix}").resolve() in inputs:
                raise ValueError(
                    f"the results of {job.path} would overwrite {folder / f'{job.stem}{suffix}'}, which is an input: "
                    "give another --output"
                )
