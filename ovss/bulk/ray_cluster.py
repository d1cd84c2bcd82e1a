"""Pictures shared among the machines of a Ray cluster, by Ray Data (the extra `ray`).

Ray decides who gets which picture, and gives those of a machine that is lost to others. All machines must have this
package, and see the files, the output folder and, for relative paths in tables, the working directory under the same
paths. What is done is in the folder, so that a run that was stopped goes on where it was.
"""

import argparse
import hashlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ovss.bulk.coco import check_words
from ovss.bulk.jobs import Job, is_done, stem_of
from ovss.bulk.pictures import Outcome, segment_jobs
from ovss.commands.arguments import predictor_of
from ovss.outputs import PICTURE, check_outputs
from ovss.vocabulary import Vocabulary

try:
    import ray
except ImportError as error:
    raise ValueError("--ray needs Ray, which is not installed: pip install 'ovss[ray]'") from error

LOCAL = "local"
CPUS = 2  # of each worker where there are no GPUs
ROWS = 8  # that a worker is given at once, or --batch-size where that is more
KNOCK_SECONDS = 10


def outcomes(
    args: argparse.Namespace, vocabulary: Vocabulary | None, jobs: Sequence[Job], folder: Path
) -> Iterator[Outcome | None]:
    """Segment jobs on the cluster `args.ray`; what became of each, None for what was done before, in any order.

    A `.parquet` file among the jobs is a table of pictures: a column "path", or "bytes" (an image file) and "name".

    Raises:
        ValueError: a mistake that every worker makes (words, weights), a table without these columns, or videos.
        OSError: no cluster at this address, or one that fails.
    """
    check_outputs(args.outputs, PICTURE, "a picture")
    if any(job.is_video for job in jobs):
        raise ValueError("--ray takes pictures alone: run videos without it")
    if vocabulary is not None and not any(job.is_table for job in jobs):  # whose rows' names are not known
        check_words(folder, args.outputs, vocabulary.classes, {job.stem for job in jobs})
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _cluster(args.ray):
        labeller = (resolved(args), vocabulary, str(folder), os.getcwd())
        size = max(ROWS, args.batch_size)
        for table in _tables(jobs):
            done = table.map_batches(
                Labeller, fn_constructor_args=labeller, batch_size=size, batch_format="numpy", **_workers()
            )
            for row in done.iter_rows():
                if row["fatal"]:
                    raise ValueError(row["fatal"])
                told = json.loads(row["outcome"])
                yield told and Outcome(Job(Path(told["path"]), ""), told["record"], told["error"])


def resolved(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments for other machines: files of the model by their whole paths."""
    given = {name: getattr(args, name) for name in ("config_file", "model", "weights")}
    files = {name: str(Path(file).resolve()) for name, file in given.items() if file and Path(file).exists()}
    return argparse.Namespace(**{**vars(args), **files})


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Connected to a cluster, or to one of this machine's own for "local"."""
    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every step
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            ray.init(LOCAL, include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConnectionError(f"--ray {address}: no cluster there ({str(error).splitlines()[0]})") from error
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # which has a level of its own once it is imported
    try:
        yield
    except ray.exceptions.RayError as error:  # its last line says what went wrong, those above where
        raise OSError(f"--ray {address}: {str(error).strip().splitlines()[-1]}") from error
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def _workers() -> dict[str, Any]:
    """One worker for each GPU; where there are none, for each two CPUs, of which one is left for reading."""
    if gpus := int(ray.cluster_resources().get("GPU", 0)):
        return {"num_gpus": 1, "compute": ray.data.ActorPoolStrategy(size=gpus)}
    cpus, workers = share([int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]])
    return {"num_cpus": cpus, "compute": ray.data.ActorPoolStrategy(size=workers)}


def share(machines: Sequence[int]) -> tuple[int, int]:
    """CPUs of a worker, and how many workers, for machines of these many CPUs: none is wider than a machine."""
    cpus = max(1, min(CPUS, max(machines), sum(machines) - 1))
    workers = sum(machine // cpus for machine in machines)
    return cpus, max(1, min(workers, (sum(machines) - 1) // cpus))


def _tables(jobs: Sequence[Job]) -> Iterator["ray.data.Dataset"]:
    """Rows of "path" and "stem", of a table of paths "path", of one of files "name" and "bytes"."""
    files = [job for job in jobs if not job.is_table]
    if files:
        yield ray.data.from_items([{"path": os.fsencode(job.path.resolve()), "stem": job.stem} for job in files])
    yield from (_parquet(job.path.resolve()) for job in jobs if job.is_table)


def _parquet(path: Path) -> "ray.data.Dataset":
    try:
        table = ray.data.read_parquet(str(path))
        columns = set(table.columns() or ())
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error
    if {"bytes", "name"} <= columns:
        return table.select_columns(["bytes", "name"])
    if "path" in columns:
        return table.select_columns(["path"])
    raise ValueError(f'{path} has the columns {sorted(columns)}: expected "path", or "bytes" and "name"')


def job_of(row: dict[str, Any]) -> Job:
    """A row's picture. As there may be millions of rows, the name of its results is a function of the row alone."""
    name, content = row.get("path", row.get("name")), None
    path = Path(os.fsdecode(name) if isinstance(name, bytes) else str(name))
    if "bytes" in row:
        content = row["bytes"] if isinstance(row["bytes"], bytes) else b""  # which is no picture
    digest = hashlib.blake2b(os.fsencode(path) + b"\0" + (content or b""), digest_size=6).hexdigest()
    return Job(path, row.get("stem", f"{stem_of(path)}_{digest}"), content)


class Labeller:
    """One worker: builds the model once, then segments what it is given.

    Args:
        args, vocabulary, folder: as for `outcomes`.
        place: the folder that paths in tables and in --opts start from, where this machine has it.
    """

    def __init__(self, args: argparse.Namespace, vocabulary: Vocabulary | None, folder: str, place: str):
        self.args, self.folder, self.fatal = args, Path(folder), ""
        with suppress(OSError):
            os.chdir(place)
        try:
            self.predictor = predictor_of(args, vocabulary)
            self.predictor.words()
            self.run = self.predictor.run_key()
        except (ValueError, OSError) as error:  # of every worker: told once, not tried again
            self.fatal = str(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """Rows of "outcome" (JSON, null for what was done before) and "fatal" for rows of pictures."""
        try:
            found = [] if self.fatal else list(self._outcomes(batch))
        except (ValueError, OSError) as error:
            self.fatal = str(error)
        if self.fatal:
            return {"outcome": [""], "fatal": [self.fatal]}
        told = [one and {"path": str(one.job.path), "record": one.record, "error": one.error} for one in found]
        return {"outcome": [json.dumps(one) for one in told], "fatal": [""] * len(told)}

    def _outcomes(self, batch: dict[str, np.ndarray]) -> Iterator[Outcome | None]:
        args, folder = self.args, self.folder
        jobs = [job_of(dict(zip(batch, row, strict=True))) for row in zip(*batch.values(), strict=True)]
        left = [job for job in jobs if not (args.resume and is_done(job, folder, self.run, args.outputs))]
        yield from [None] * (len(jobs) - len(left))
        yield from segment_jobs(self.predictor, left, folder, args.outputs, args.batch_size)
