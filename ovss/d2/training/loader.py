"""The order of training: a crop is a function of the seed and of its place in the run. Imports torch, OpenCV, the seam.

So a run that is resumed goes on as if it had never stopped, and neither the number of loading processes nor that of
training processes changes what a step sees.
"""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ovss.d2.api import CfgNode, DatasetCatalog, comm
from ovss.d2.training.mapper import TrainMapper
from ovss.d2.training.records import PackedRecords
from ovss.images import ImageError

_ORDER, _CROP, _STEP, _DRAW, _REPLACEMENT = range(5)  # streams of random numbers that never meet


def _seed_of(seed: int, *place: int) -> int:
    """The seed of one place in one of the streams."""
    return int(np.random.SeedSequence(seed, spawn_key=place).generate_state(1)[0])


class TrainingStream(Dataset):
    """Item `place` of `length` is a mapped record: a shuffle of all records, then another, and so on.

    Where the files of a record cannot be used, another one stands in, a function of seed and place too, and the crop's
    "unreadable" lists what was wrong.

    Args:
        records: of all data sets together.
        mapper: draws from `random` and numpy's global generator, which are seeded before each call; raises ImageError
            for files that cannot be used. The record that it is given has a "draw_seed" of its place, for what the
            model draws for this crop; it goes with the crop.
        seed: of the shuffles and of the mapper's draws.
        max_unreadable: records that may fail for one item.
    """

    def __init__(
        self,
        records: Sequence[dict] | PackedRecords,
        mapper: Callable[[dict], Any],
        seed: int,
        length: int,
        max_unreadable: int = 0,
    ):
        self.records, self.mapper, self.seed, self.length = records, mapper, seed, length
        self.max_unreadable = max_unreadable
        self._epoch, self._order = -1, np.empty(0, int)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> Any:
        """Raises ImageError where more than `max_unreadable` records fail, or all; it names the files."""
        draws = _seed_of(self.seed, _CROP, place)
        unreadable: list[str] = []
        for index in self._candidates(place):
            random.seed(draws)
            np.random.seed(draws)  # noqa: NPY002 (augmentations, here and in Detectron2, draw from the global generator)
            try:
                crop = self.mapper({**self.records[index], "draw_seed": _seed_of(self.seed, _DRAW, place)})
            except ImageError as error:
                unreadable.append(str(error))
                if len(unreadable) > self.max_unreadable:
                    break
            else:
                return {**crop, "unreadable": unreadable} if unreadable else crop
        raise ImageError(too_many(unreadable, self.max_unreadable))

    def _candidates(self, place: int) -> Iterator[int]:
        """The record of a place, then all others, shuffled."""
        epoch, index = divmod(place, len(self.records))
        if epoch != self._epoch:
            rng = np.random.default_rng(_seed_of(self.seed, _ORDER, epoch))
            self._epoch, self._order = epoch, rng.permutation(len(self.records))
        first = int(self._order[index])
        yield first
        rng = np.random.default_rng(_seed_of(self.seed, _REPLACEMENT, place))
        yield from (int(other) for other in rng.permutation(len(self.records)) if other != first)

    def step_seed(self, step: int, rank: int) -> int:
        """Seed of what the model itself draws in a step, beside what it draws crop by crop from "draw_seed"."""
        return _seed_of(self.seed, _STEP, step, rank)


class StepSampler(Sampler[list[int]]):
    """Places of this process in the batch of each step, from `start` on, which may be set until the first is drawn."""

    def __init__(self, *, steps: int, batch: int, rank: int, processes: int):
        if batch % processes or batch < 1:
            raise ValueError(f"SOLVER.IMS_PER_BATCH {batch} cannot be shared by {processes} processes: take a multiple")
        self.steps, self.batch, self.share, self.rank = steps, batch, batch // processes, rank
        self.start = 0

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            first = self.first(step)
            yield list(range(first, first + self.share))

    def first(self, step: int) -> int:
        """Place of this process's first crop of a step."""
        return step * self.batch + self.rank * self.share

    def __len__(self) -> int:
        return max(self.steps - self.start, 0)


def too_many(unreadable: Sequence[str], limit: int) -> str:
    """One line about files that cannot be used, all of which it names."""
    count = f"{len(unreadable)} training picture{'s' * (len(unreadable) > 1)}"
    return f"{count} cannot be used, DATALOADER.MAX_UNREADABLE is {limit}: {'; '.join(unreadable)}"


def start_worker(worker: int) -> None:
    """What a loading process does first: it computes in one thread, and leaves it to the training process when to end.

    A signal to all of a job's processes must not end this one while the last step, or a checkpoint, needs it.
    """
    use_one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def use_one_thread() -> None:
    """Let OpenCV compute in one thread; of torch, the DataLoader sees to it.

    Only where it does not yet: a forked process that changes the number waits for ever for the threads of its parent.
    So the parent has to do it first.
    """
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """Obey the SIGTERM of the process that started this one, which waits for that, and of no other."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def build_train_loader(cfg: CfgNode) -> DataLoader:
    """Lists of this process's crops, one for each of SOLVER.MAX_ITER steps. OpenCV has one thread here from then on.

    Raises:
        ValueError: a data set without records, or a batch that the processes cannot share.
    """
    names = cfg.DATASETS.TRAIN
    records = PackedRecords(record for name in names for record in DatasetCatalog.get(name))
    if not len(records):
        raise ValueError(f"the data sets {names} have no record")
    steps, batch = cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH
    # Drawn on every process, so that all take the first one's.
    seed = cfg.SEED if cfg.SEED >= 0 else comm.all_gather(random.SystemRandom().getrandbits(31))[0]
    mapper, allowed = TrainMapper.from_config(cfg), cfg.DATALOADER.MAX_UNREADABLE
    stream = TrainingStream(records, mapper, seed, steps * batch, allowed)
    sampler = StepSampler(steps=steps, batch=batch, rank=comm.get_rank(), processes=comm.get_world_size())
    workers = cfg.DATALOADER.NUM_WORKERS
    use_one_thread()
    return DataLoader(
        stream,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=list,
        pin_memory=cfg.MODEL.DEVICE.startswith("cuda"),
        timeout=cfg.DATALOADER.TIMEOUT if workers else 0,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # else starting it, also after a pause, would draw from the model's numbers
    )
