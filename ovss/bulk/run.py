"""The work of `ovss segment`: pictures, videos and words in, files out. Imported only when it runs."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ovss.bulk.coco import check_words, merge
from ovss.bulk.jobs import Job, check_inputs_stay, check_targets, find_jobs, is_done
from ovss.commands.arguments import predictor_of
from ovss.outputs import VIDEO, check_outputs
from ovss.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovss.bulk.pictures import Outcome
    from ovss.predictor import Predictor


def segment(args: argparse.Namespace) -> int:
    """Segment every input and return the exit code: 0, or 1 where a picture could not be read (the others are done).

    Raises:
        ValueError: bad inputs, words, config or weights; the first two are found before the model is built.
        OSError: the output folder cannot be written.
    """
    vocabulary = Vocabulary.parse(args.vocabulary) if args.vocabulary is not None else None
    if args.batch_size < 1:
        raise ValueError(f"--batch-size {args.batch_size}: give at least 1")
    jobs = find_jobs(args.input)
    if any(job.is_video for job in jobs):
        check_outputs(args.outputs, VIDEO, "a video")
    folder = Path(args.output)
    check_inputs_stay(jobs, folder, args.outputs)
    check_place(folder)
    check_targets((job for job in jobs if not job.is_table), folder, args.outputs, args.resume)
    if args.ray:
        from ovss.bulk.ray_cluster import outcomes

        return _report(outcomes(args, vocabulary, jobs, folder), args, folder)
    predictor = predictor_of(args, vocabulary)  # torch and the model: only once all else is known to be right
    check_words(folder, args.outputs, predictor.words().classes, {job.stem for job in jobs})
    folder.mkdir(parents=True, exist_ok=True)
    return _report(_outcomes(predictor, jobs, folder, args), args, folder, len(jobs))


def _outcomes(
    predictor: "Predictor", jobs: Sequence[Job], folder: Path, args: argparse.Namespace
) -> "Iterator[Outcome | None]":
    """What became of every job, None for what an earlier run has done; pictures first, then videos."""
    from ovss.bulk.pictures import segment_jobs

    if args.resume:
        run = predictor.run_key()
        left = [job for job in jobs if not is_done(job, folder, run, args.outputs)]
        yield from [None] * (len(jobs) - len(left))
        jobs = left
    pictures = [job for job in jobs if not job.is_video]
    yield from segment_jobs(predictor, pictures, folder, args.outputs, args.batch_size)
    videos = [job for job in jobs if job.is_video]
    if videos:
        from ovss.bulk.video import segment_video

        yield from (segment_video(predictor, job, folder, args.outputs, args.batch_size) for job in videos)


def _report(
    outcomes: "Iterator[Outcome | None]", args: argparse.Namespace, folder: Path, count: int | None = None
) -> int:
    """Tell of every job, of `count` where that is known, write what is about all, and return the exit code."""
    done, skipped, broken = 0, 0, 0
    with tqdm(total=count, unit="picture", disable=None) as progress:
        for outcome in outcomes:
            progress.update()
            if outcome is None:
                skipped += 1
            elif outcome.record is None:
                broken += 1
                progress.write(f"ovss: skipped: {outcome.job.path}: {outcome.error}", file=sys.stderr)
            else:
                done += 1
            if args.json and outcome is not None:
                told = outcome.record or {"file": str(outcome.job.path), "error": outcome.error}
                progress.write(json.dumps(told), file=sys.stdout)
    count = done + skipped + broken
    merged = merge(folder, args.outputs)
    if args.json:
        told = {"segmented": done, "done_before": skipped, "failed": broken, "output": str(folder)}
        print(json.dumps(told | {"files": [str(path) for path in merged]}))
    else:
        before = f", {skipped} were done before" if skipped else ""
        print(f"{done} of {count} segmented{before}, written to {folder}/")
    if broken:
        print(f"ovss: {broken} of {count} could not be segmented", file=sys.stderr)
    return 1 if broken else 0


def check_place(folder: Path) -> None:
    """Raise ValueError, before long work, where a folder cannot be made or be written; nothing is made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        reason = "is no folder" if not there.is_dir() else "cannot be written"
        raise ValueError(f"--output {folder}: {there} {reason}")
