"""Memory of a loading process that holds the records of COCO-Stuff, for benchmarks/loader.py. Linux."""

from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from ovss.d2.training.loader import TrainingStream, start_worker
from ovss.d2.training.records import PackedRecords

COCO_RECORDS = 118_287


class MemoryAfter(Dataset):
    """Item 0: MiB that this process shares with none, at first and once it has looked at every record."""

    def __init__(self, stream: TrainingStream):
        self.stream = stream

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> tuple[float, float]:
        before = private_memory()
        for place in range(len(self.stream)):
            self.stream[place]
        return before, private_memory()


def private_memory() -> float:
    """Of this process, in MiB; Linux."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def no_crop(record: dict) -> dict:
    return {}


def memory_table() -> None:
    """Two ways to hold the records of COCO-Stuff, in a forked loading process."""
    places = (f"/datasets/coco-stuff/{{}}/train2017/{index:012d}" for index in range(COCO_RECORDS))
    listed = [
        {"file_name": f"{place}.jpg".format("images"), "sem_seg_file_name": f"{place}.png".format("annotations")}
        for place in places
    ]
    print(f"\n| {COCO_RECORDS} records | private MiB at first | after all were read |\n|---|---:|---:|")
    for name, records in (("a list of dicts", listed), ("this project", PackedRecords(listed))):
        stream = TrainingStream(records, no_crop, 0, COCO_RECORDS)
        loader = DataLoader(
            MemoryAfter(stream), None, num_workers=1, worker_init_fn=start_worker, multiprocessing_context="fork"
        )
        before, after = next(iter(loader))
        print(f"| {name} | {before:.0f} | {after:.0f} |")
