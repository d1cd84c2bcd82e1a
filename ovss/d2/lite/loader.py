"""The test loader: every record once, split over the processes of the run. Imports torch's DataLoader."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader, Dataset, Sampler

from ovss.d2.lite import comm
from ovss.d2.lite.catalog import DatasetCatalog
from ovss.d2.lite.configurable import configurable


class InferenceSampler(Sampler):
    """Indices of this process: a contiguous share of range(size), the first `size % world size` shares one longer."""

    def __init__(self, size: int):
        self.indices = share(size, comm.get_world_size(), comm.get_rank())

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def share(size: int, world_size: int, rank: int) -> range:
    """Indices of `rank` when `size` items are split over `world_size` processes; empty where there are too few."""
    length, longer = divmod(size, world_size)
    start = rank * length + min(rank, longer)
    return range(start, start + length + (rank < longer))


class _MappedRecords(Dataset):
    """Records passed through the mapper; each access hands the mapper its own copy, so that it may change it."""

    def __init__(self, records: list[dict], mapper: Callable[[dict], Any]):
        self.records, self.mapper = records, mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Any:
        return self.mapper(copy.deepcopy(self.records[index]))


def _as_list(batch: list) -> list:
    """Collate nothing: images of a batch may differ in size."""
    return batch


def _from_config(cfg: CfgNode, dataset_name: str | list[str], mapper: Callable[[dict], Any]) -> dict[str, Any]:
    names = [dataset_name] if isinstance(dataset_name, str) else dataset_name
    records = [record for name in names for record in DatasetCatalog.get(name)]
    if not records:
        raise ValueError(f"the data sets {names} have no record")
    return {"dataset": records, "mapper": mapper, "num_workers": cfg.DATALOADER.NUM_WORKERS}


@configurable(from_config=_from_config)
def build_detection_test_loader(
    dataset: list[dict],
    *,
    mapper: Callable[[dict], Any],
    sampler: Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
) -> DataLoader:
    """Loader of lists of at most `batch_size` mapped records, in order, this process's share only.

    Also `build_detection_test_loader(cfg, dataset_name, mapper, ...)`, which takes records and workers from these.
    """
    return DataLoader(
        _MappedRecords(dataset, mapper),
        batch_size=batch_size,
        sampler=sampler or InferenceSampler(len(dataset)),
        num_workers=num_workers,
        collate_fn=collate_fn or _as_list,
    )
