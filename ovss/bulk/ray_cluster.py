"""Pictures shared among the machines of a Ray cluster, by Ray Data (the extra `ray`).

Ray decides who gets which picture, and gives those of a machine that is lost to others. All machines must have this
package, and see the files and the output folder under the same paths. What is done is in the folder, so that a run that
was stopped goes on where it was, and a picture that is given out twice is segmented once.
"""

import argparse
import json
import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ovss.bulk.jobs import Job, is_done
from ovss.bulk.pictures import Outcome
from ovss.cache import key_of
from ovss.commands.arguments import predictor_of
from ovss.images import ImageError, read_image, read_image_bytes
from ovss.outputs import PICTURE, check_outputs
from ovss.vocabulary import Vocabulary

try:
    import ray
except ImportError as error:
    raise ValueError("--ray needs Ray, which is not installed: pip install 'ovss[ray]'") from error

LOCAL, PARQUET = "local", ".parquet"
CPUS = 2  # of each worker where there are no GPUs
ROWS = 8  # that a worker is given at once
KNOCK_SECONDS = 10


def outcomes(
    args: argparse.Namespace, vocabulary: Vocabulary | None, jobs: Sequence[Job], folder: Path
) -> Iterator[Outcome | None]:
    """Segment jobs on the cluster `args.ray`; what became of each, None for what was done before, in any order.

    A `.parquet` file among the jobs is a table of pictures: a column "path", or "bytes" (an image file) and "name".

    Raises:
        ValueError: a mistake that every worker makes (words, weights), a table without these columns, or videos.
        ConnectionError: no cluster at this address.
    """
    check_outputs(args.outputs, PICTURE, "a picture")
    if any(job.is_video for job in jobs):
        raise ValueError("--ray takes pictures alone: run videos without it")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _cluster(args.ray):
        labeller = (args, vocabulary, str(folder))
        for table in _tables(jobs):
            done = table.map_batches(
                Labeller, fn_constructor_args=labeller, batch_size=ROWS, batch_format="numpy", **_workers()
            )
            for row in done.iter_rows():
                if row["fatal"]:
                    raise ValueError(row["fatal"])
                record = json.loads(row["record"]) if row["record"] else None
                outcome = Outcome(Job(Path(row["path"]), row["stem"]), record, row["error"])
                yield None if row["before"] else outcome


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Connected to a cluster, or to one of this machine's own for "local"."""
    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every step
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            ray.init(include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConnectionError(f"--ray {address}: no cluster there ({str(error).splitlines()[0]})") from error
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def _workers() -> dict[str, Any]:
    """How many workers, and what each has: a GPU, or some of the CPUs, of which one is left for reading."""
    there = ray.cluster_resources()
    if gpus := int(there.get("GPU", 0)):
        return {"num_gpus": 1, "compute": ray.data.ActorPoolStrategy(size=gpus)}
    cpus = min(CPUS, max(1, int(there["CPU"]) - 1))
    workers = max(1, int(there["CPU"] - 1) // cpus)
    return {"num_cpus": cpus, "compute": ray.data.ActorPoolStrategy(size=workers)}


def _tables(jobs: Sequence[Job]) -> Iterator["ray.data.Dataset"]:
    """Rows of "path", "stem", and of a table of files "bytes"."""
    files = [job for job in jobs if not _is_table(job)]
    if files:
        yield ray.data.from_items([{"path": str(job.path.resolve()), "stem": job.stem} for job in files])
    yield from (_parquet(job.path) for job in jobs if _is_table(job))


def _is_table(job: Job) -> bool:
    return job.path.suffix.lower() == PARQUET


def _parquet(path: Path) -> "ray.data.Dataset":
    table = ray.data.read_parquet(str(path))
    columns = set(table.columns() or ())
    if {"bytes", "name"} <= columns:
        return table.select_columns(["bytes", "name"]).rename_columns({"name": "path"}).add_column("stem", _stems)
    if "path" in columns:
        return table.select_columns(["path"]).add_column("stem", _stems)
    raise ValueError(f'{path} has the columns {sorted(columns)}: expected "path", or "bytes" and "name"')


def _stems(frame: Any) -> Any:
    """Names of results: as there may be millions of rows, each is a function of its own path alone."""
    return frame["path"].map(lambda path: f"{Path(path).stem[:150]}_{key_of(str(path))[:12]}")


class Labeller:
    """One worker: builds the model once, then segments what it is given."""

    def __init__(self, args: argparse.Namespace, vocabulary: Vocabulary | None, folder: str):
        self.args, self.folder, self.fatal = args, Path(folder), ""
        try:
            self.predictor = predictor_of(args, vocabulary)
            self.predictor.words()
        except (ValueError, OSError) as error:  # of every worker: told once, not tried again
            self.fatal = str(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Rows of "path", "stem", "record" (JSON), "error", "fatal" and "before" for rows of pictures."""
        files = batch.get("bytes", [None] * len(batch["path"]))
        rows = [self._row(*row) for row in zip(batch["path"], batch["stem"], files, strict=True)]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _row(self, path: str, stem: str, file: bytes | None) -> dict[str, Any]:
        row = {"path": str(path), "stem": str(stem), "record": "", "error": "", "fatal": self.fatal, "before": False}
        if self.fatal:
            return row
        outputs = self.args.outputs
        if self.args.resume and is_done(Job(Path(path), stem), self.folder, self.predictor.run_key(), outputs):
            return row | {"before": True}
        try:
            image = read_image(path) if file is None else read_image_bytes(file, path)
            found = self.predictor.segment(image, probabilities="probabilities" in outputs).named(str(path))
        except ImageError as error:
            return row | {"error": str(error).removeprefix(f"{path}: ")}
        except ValueError as error:
            return row | {"fatal": str(error)}
        told = {"run": self.predictor.run_key()}
        return row | {"record": json.dumps(found.save(self.folder, stem, outputs, told))}
