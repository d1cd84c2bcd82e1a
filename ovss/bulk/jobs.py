"""What a bulk run has to do: files in, a name for the results of each, and which are done. Imports Pillow and numpy.

A file is done when its NAME.json says so, which is written last.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ovss.images import SUFFIXES, find_images
from ovss.outputs import PICTURE, VIDEO

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
STANDARD_INPUT = "-"
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
    entries: list[str] = []
    for entry in inputs:
        entries += filter(None, map(str.strip, sys.stdin)) if entry == STANDARD_INPUT else [entry]
    if not entries:
        raise ValueError(f"--input {STANDARD_INPUT}: no line on standard input, expected a path on each")
    paths = find_images(entries, SUFFIXES + VIDEO_SUFFIXES)
    return [Job(path, stem) for path, stem in zip(paths, unique_stems(paths), strict=True)]


def unique_stems(paths: Iterable[Path]) -> list[str]:
    """One name for each file: its stem, or stem_2, stem_3, ... where an earlier file has it, in upper or lower case."""
    taken = set(RESERVED)
    stems = []
    for path in paths:
        stem, number = path.stem, 1
        while stem.lower() in taken:
            number += 1
            stem = f"{path.stem}_{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def is_done(job: Job, folder: Path, classes: Sequence[str], outputs: Sequence[str]) -> bool:
    """Whether an earlier run has written all `outputs` of this very file for these classes."""
    try:
        record = json.loads((folder / f"{job.stem}.json").read_bytes())
        same = record["file"] == str(job.path) and record["classes"] == list(classes)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not same or ("rle" in outputs and "rle" not in record):
        return False
    suffixes = VIDEO if job.is_video else PICTURE
    return all((folder / f"{job.stem}{suffixes[name]}").exists() for name in outputs if suffixes[name])
