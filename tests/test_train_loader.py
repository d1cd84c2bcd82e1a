"""The order of training: each record once an epoch, and crops that depend on seed and place alone."""

import random

import numpy as np
import pytest
from small_training import CONFIG, SMALL, as_opts, write_squares
from torch.utils.data import DataLoader

from ovss import hub
from ovss.d2.catalog import register
from ovss.d2.train_loader import StepSampler, TrainingStream, build_train_loader
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
