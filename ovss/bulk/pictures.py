"""Many pictures through one model: files are read ahead and results written behind while it works. Imports torch.

What is in memory does not grow with the number of pictures.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ovss.bulk.jobs import Job, mark
from ovss.images import ImageError, read_image, read_image_bytes
from ovss.predictor import Predictor
from ovss.segmentation import Segmentation

READERS, WRITERS = 2, 2
T = TypeVar("T")
U = TypeVar("U")


class Outcome(NamedTuple):
    """What became of a job: the content of its NAME.json, or why its picture could not be segmented."""

    job: Job
    record: dict[str, Any] | None
    error: str = ""


class Read(NamedTuple):
    """A job, what its NAME.json shall hold of it as it was before it was read (`mark`), and its picture."""

    job: Job
    told: dict[str, Any]
    image: np.ndarray | ImageError


def segment_jobs(
    predictor: Predictor, jobs: Sequence[Job], folder: Path, outputs: Sequence[str], batch_size: int = 1
) -> Iterator[Outcome]:
    """Segment the pictures of jobs and write their outputs (`Segmentation.save`); outcomes come in order of the jobs.

    A picture that cannot be read, or not be resized, costs itself alone.

    Raises:
        ValueError: words that the model does not know.
        OSError: the folder cannot be written.
    """
    run = predictor.run_key()
    unwritten = 1 if "probabilities" in outputs else 2 * WRITERS  # which have K*H*W values
    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(WRITERS) as writers:
        read = _ahead(readers, lambda job: _read(job, run, outputs), jobs, 2 * max(batch_size, READERS))
        batches = iter(lambda: list(itertools.islice(read, batch_size)), [])
        found = itertools.chain.from_iterable(_segment(predictor, batch, outputs) for batch in batches)
        yield from _ahead(writers, lambda one: _write(*one, folder, outputs), found, unwritten)


def _ahead(pool: ThreadPoolExecutor, work: Callable[[T], U], items: Iterable[T], most: int) -> Iterator[U]:
    """`map`, in threads and in order, that takes no more than `most` items before their answers are asked for."""
    waiting: deque[Future[U]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(job: Job, run: str, outputs: Sequence[str]) -> Read:
    told = mark(job, run, outputs)
    try:
        if job.content is not None:
            return Read(job, told, read_image_bytes(job.content, str(job.path)))
        return Read(job, told, read_image(job.path))
    except ImageError as error:
        return Read(job, told, error)


def _segment(
    predictor: Predictor, batch: Sequence[Read], outputs: Sequence[str]
) -> list[tuple[Read, Segmentation | ImageError]]:
    """The answers for a batch; where a picture of it cannot be resized, each runs by itself."""
    images = [read.image for read in batch if isinstance(read.image, np.ndarray)]
    try:
        kept = "probabilities" in outputs
        answers = iter(predictor.segment(images, batch_size=max(1, len(images)), probabilities=kept))
    except ImageError as error:
        if len(batch) == 1:
            return [(batch[0], error)]
        return [answer for one in batch for answer in _segment(predictor, [one], outputs)]
    return [(read, next(answers) if isinstance(read.image, np.ndarray) else read.image) for read in batch]


def _write(read: Read, found: Segmentation | ImageError, folder: Path, outputs: Sequence[str]) -> Outcome:
    job = read.job
    if isinstance(found, ImageError):
        return Outcome(job, None, str(found).removeprefix(f"{job.path}: "))
    return Outcome(job, found.named(str(job.path)).save(folder, job.stem, outputs, read.told))
