"""The training loader: an endless shuffled stream of records, of which each process takes its share. Imports torch."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader, Sampler

from ovss.d2.lite import comm
from ovss.d2.lite.configurable import configurable
from ovss.d2.lite.loader import MappedRecords, as_list, records_of


class TrainingSampler(Sampler):
    """Endless: one shuffle of range(size) after the other, of which this process takes every world-size-th index.

    `seed` must be the same in all processes; None: one is drawn and shared.
    """

    def __init__(self, size: int, seed: int | None = None):
        if size < 1:
            raise ValueError(f"cannot sample from {size} records")
        self.size = size
        self.seed = comm.shared_random_seed() if seed is None else seed

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(self._shuffles(), comm.get_rank(), None, comm.get_world_size())

    def _shuffles(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield from torch.randperm(self.size, generator=generator).tolist()


class _GroupedByAspect:
    """Batches of mapped records that are all wider than high, or none; each record has its `width` and `height`."""

    def __init__(self, records: Iterable[dict], batch_size: int):
        self.records, self.batch_size = records, batch_size

    def __iter__(self) -> Iterator[list[dict]]:
        groups: tuple[list[dict], list[dict]] = ([], [])
        for record in self.records:
            group = groups[record["width"] > record["height"]]
            group.append(record)
            if len(group) == self.batch_size:
                yield [*group]
                group.clear()


def _itself(record: Any) -> Any:
    return record


def _from_config(cfg: CfgNode, mapper: Callable[[dict], Any]) -> dict[str, Any]:
    dataset = records_of(cfg.DATASETS.TRAIN)
    return {
        "dataset": dataset,
        "mapper": mapper,
        "sampler": TrainingSampler(len(dataset), seed=cfg.SEED if cfg.SEED >= 0 else None),
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "aspect_ratio_grouping": cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_from_config)
def build_detection_train_loader(
    dataset: list[dict],
    *,
    mapper: Callable[[dict], Any],
    sampler: Sampler | None = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
) -> Iterable[list]:
    """Endless lists of mapped records, `total_batch_size` in all processes together.

    Also `build_detection_train_loader(cfg, mapper=...)`, which takes everything else from the config.

    Raises:
        ValueError: a batch that cannot be shared evenly among the processes.
    """
    processes = comm.get_world_size()
    if total_batch_size < 1 or total_batch_size % processes:
        raise ValueError(f"SOLVER.IMS_PER_BATCH {total_batch_size} is no multiple of the {processes} processes")
    batch_size = total_batch_size // processes
    records = MappedRecords(dataset, mapper)
    sampler = sampler or TrainingSampler(len(dataset))
    if aspect_ratio_grouping:
        single = DataLoader(records, batch_size=None, sampler=sampler, num_workers=num_workers, collate_fn=_itself)
        return _GroupedByAspect(single, batch_size)
    return DataLoader(records, batch_size, sampler=sampler, num_workers=num_workers, collate_fn=as_list, drop_last=True)
