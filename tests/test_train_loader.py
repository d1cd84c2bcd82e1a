"""The order of training, pictures that cannot be used, loading processes: crops depend on seed and place alone."""

import os
import random
import signal
import time

import cv2
import numpy as np
import pytest
import torch
from small_training import CONFIG, SMALL, as_opts, write_squares
from torch.utils.data import DataLoader

from ovss import hub
from ovss.d2.catalog import register
from ovss.d2.training.loader import StepSampler, TrainingStream, build_train_loader, start_worker, use_one_thread
from ovss.images import ImageError
from ovss.vocabulary import Vocabulary

RECORDS = [{"name": name} for name in "abcdefg"]


def noisy(record):
    return record["name"], random.random(), np.random.rand()  # noqa: NPY002 (as augmentations do)


def stream(seed=3, length=70):
    return TrainingStream(RECORDS, noisy, seed, length)


def test_every_epoch_is_another_order_of_all_records():
    names = [stream()[place][0] for place in range(70)]
    epochs = [tuple(names[start : start + 7]) for start in range(0, 70, 7)]
    assert all(sorted(epoch) == list("abcdefg") for epoch in epochs)
    assert len(set(epochs)) > 7
    assert [stream(seed=4)[place][0] for place in range(70)] != names


def test_an_item_depends_on_seed_and_place_alone():
    forward, backward = stream(), stream()
    items = [forward[place] for place in range(70)]
    assert [backward[place] for place in reversed(range(70))][::-1] == items
    assert len({item[1] for item in items} | {item[2] for item in items}) == 140
    assert stream(seed=4)[0][1:] != items[0][1:]


def test_a_crop_brings_a_seed_of_its_place_for_what_the_model_draws():
    seeds = [TrainingStream(RECORDS, lambda record: record["draw_seed"], 3, 70)[place] for place in range(70)]
    assert len(set(seeds)) == 70
    assert seeds == [TrainingStream(RECORDS, dict, 3, 140)[place]["draw_seed"] for place in range(70)]


def batches(start=0, rank=0, processes=1, workers=0):
    sampler = StepSampler(steps=5, batch=6, rank=rank, processes=processes)
    sampler.start = start
    return [*DataLoader(stream(), batch_sampler=sampler, num_workers=workers, collate_fn=list)]


def test_neither_workers_nor_processes_nor_a_pause_change_a_step():
    whole = batches()
    assert [len(batch) for batch in whole] == [6] * 5
    assert batches(workers=2) == whole
    shares = [batches(rank=rank, processes=3) for rank in range(3)]
    assert [[item for part in parts for item in part] for parts in zip(*shares, strict=True)] == whole
    assert batches(start=3) == whole[3:]
    assert batches(start=5) == []


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(ValueError, match=r"SOLVER.IMS_PER_BATCH 4 cannot be shared by 3 processes"):
        StepSampler(steps=1, batch=4, rank=0, processes=3)


def test_loader_of_a_config(tmp_path):
    cfg = hub.load(CONFIG, as_opts(SMALL, write_squares(tmp_path), {"SOLVER.MAX_ITER": 3}))
    loader = build_train_loader(cfg)
    steps = [*loader]
    assert [len(batch) for batch in steps] == [4, 4, 4]
    assert {crop["file_name"] for crop in steps[0] + steps[1][:2]} == {f"{tmp_path}/images/{i}.png" for i in range(6)}
    assert (loader.dataset[5]["image"] == steps[1][1]["image"]).all()


def test_without_a_seed_runs_differ(tmp_path):
    cfg = hub.load(CONFIG, as_opts(SMALL, write_squares(tmp_path), {"SEED": -1}))
    assert build_train_loader(cfg).dataset.seed != build_train_loader(cfg).dataset.seed


def test_no_records():
    register("test_loader_empty", list, Vocabulary.parse("cat, wall"), 255)
    cfg = hub.load(CONFIG, ["DATASETS.TRAIN", "('test_loader_empty',)"])
    with pytest.raises(ValueError, match=r"test_loader_empty.* have no record"):
        build_train_loader(cfg)


BROKEN = "bdg"
tried = []


def picky(record):
    tried.append(record["name"])
    if record["name"] in BROKEN:
        raise ImageError(f"{record['name']}.jpg: broken")
    return dict(zip(("name", "first", "second"), noisy(record), strict=True))


def stream_with_broken(broken_mapper=picky, limit=7):
    return TrainingStream(RECORDS, broken_mapper, 3, 70, limit)


def test_another_record_stands_in_for_a_broken_one():
    crops = [stream_with_broken()[place] for place in range(70)]
    wanted, replaced = [stream()[place] for place in range(70)], []
    for crop, (name, *draws) in zip(crops, wanted, strict=True):
        assert [crop["first"], crop["second"]] == draws
        if name not in BROKEN:
            assert (crop["name"], "unreadable" in crop) == (name, False)
        else:
            assert crop["unreadable"][0] == f"{name}.jpg: broken"
            assert crop["name"] not in BROKEN
            replaced.append(crop["name"])
    assert len(replaced) == 30
    assert set(replaced) == set("acef")
    again = stream_with_broken()
    assert [again[place] for place in reversed(range(70))] == crops[::-1]


def test_where_too_many_are_broken_it_ends_at_once():
    def broken(record):
        tried.append(record["name"])
        raise ImageError(f"{record['name']}.jpg: broken")

    for limit, count in ((0, 1), (2, 3), (7, 7), (100, 7)):
        tried.clear()
        with pytest.raises(
            ImageError, match=rf"^{count} training pictures? cannot .*MAX_UNREADABLE is {limit}: .*broken"
        ):
            stream_with_broken(broken, limit)[0]
        assert len(tried) == len(set(tried)) == count


def test_a_mistake_in_the_settings_is_no_broken_picture():
    def wrong(record):
        tried.append(record["name"])
        raise ValueError("a crop does not fit")

    tried.clear()
    with pytest.raises(ValueError, match="a crop does not fit"):
        stream_with_broken(wrong)[0]
    assert len(tried) == 1


def test_each_process_reads_its_own_crops_alone_and_a_resumed_one_not_what_came_before():
    sampler = StepSampler(steps=5, batch=6, rank=1, processes=3)
    sampler.start = 3
    batches = [*DataLoader(stream_with_broken(), batch_sampler=sampler, collate_fn=list)]
    assert batches == [[stream_with_broken()[place] for place in places] for places in ([20, 21], [26, 27])]
    tried.clear()
    again = [*DataLoader(stream_with_broken(), batch_sampler=sampler, collate_fn=list)]
    assert len(tried) == sum(1 + len(crop.get("unreadable", ())) for batch in again for crop in batch)


def loaded(mapper, timeout=0):
    """What a loading process makes of the first record."""
    use_one_thread()
    dataset = TrainingStream(RECORDS, mapper, 3, 1)
    settings = {"num_workers": 1, "collate_fn": list, "worker_init_fn": start_worker, "timeout": timeout}
    return next(iter(DataLoader(dataset, **settings)))[0]


def test_a_loading_process_has_one_thread_and_outlives_signals():
    def look(record):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        return cv2.getNumThreads(), torch.get_num_threads(), os.getpid()

    assert loaded(look)[:2] == (1, 1)
    assert loaded(look)[2] != os.getpid()


def test_a_loading_process_that_dies_or_hangs_ends_the_run():
    with pytest.raises(
        RuntimeError, match=r"DataLoader worker \(pid\(?s?\)? ?\d+\) (is killed by signal: Killed|exited)"
    ):
        loaded(lambda record: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        loaded(lambda record: time.sleep(3), timeout=1)


def test_loading_processes_start_where_opencv_has_had_threads(tmp_path):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (7, 7), 0)
        time.sleep(0.5)  # its threads sleep then, and a forked process that ended them would hang
        settings = {"DATALOADER.NUM_WORKERS": 1, "DATALOADER.TIMEOUT": 30}
        loader = build_train_loader(hub.load(CONFIG, as_opts(SMALL, write_squares(tmp_path), settings)))
        assert len(next(iter(loader))) == 4
    finally:
        cv2.setNumThreads(before)


def test_settings_of_the_processes(tmp_path):
    settings = {"DATALOADER.NUM_WORKERS": 2, "DATALOADER.TIMEOUT": 9, "DATALOADER.MAX_UNREADABLE": 4}
    for changes, expected in (
        (settings, (2, 9, False)),
        ({**settings, "DATALOADER.NUM_WORKERS": 0}, (0, 0, False)),
        ({**settings, "MODEL.DEVICE": "cuda"}, (2, 9, True)),
    ):
        folder = tmp_path / str(expected)
        loader = build_train_loader(hub.load(CONFIG, as_opts(SMALL, write_squares(folder), changes)))
        assert (loader.num_workers, loader.timeout, loader.pin_memory) == expected
        assert loader.dataset.max_unreadable == 4
