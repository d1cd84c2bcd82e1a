"""The line of progress, from events made by hand, on Detectron2 and on lite alike."""

import logging

import pytest

from ovss.d2.api import EventStorage
from ovss.d2.watch.progress_line import ProgressLine


@pytest.fixture
def storage(caplog):
    with EventStorage(0) as opened, caplog.at_level(logging.INFO):
        yield opened


def test_a_line_says_what_is_known(storage, caplog):
    line = ProgressLine(100, window=20, batch=4)
    line.write()  # before anything has happened
    storage.put_scalars(total_loss=0.5, data_time=9.0)
    line.write()
    storage.iter = 9
    storage.put_scalars(gradient_norm=0.125, loss_a=1.0, total_loss=1.5, data_time=0.25, time=2.0)
    storage.put_scalars(lr=0.0002, loss_scale=65536.0, max_memory=1234.4, smoothing_hint=False)
    line.write()
    storage.iter = 100
    storage.put_scalar("scenes/mIoU", 50.0, smoothing_hint=False)
    line.write()  # nothing but scores has come
    assert caplog.messages == [
        "iter: 0  total_loss: 0.5",
        # 90 steps of 2 s; the wait of a step that was not timed does not count
        "eta: 0:03:00  iter: 9  total_loss: 1  loss_a: 1  gradient_norm: 0.125  lr: 0.0002  loss_scale: 65536  "
        "max_mem: 1234M  time: 2.0000  data_time: 0.2500  pictures/s: 2",
    ]
    assert storage.latest()["eta_seconds"][0] == 180


def test_losses_are_medians_and_times_means_of_the_window(storage, caplog):
    for storage.iter, (loss, seconds) in enumerate([(50.0, 90.0), (1.0, 1.0), (2.0, 1.0), (9.0, 4.0)]):
        storage.put_scalars(total_loss=loss, time=seconds)
    ProgressLine(4, window=3, batch=1).write()
    assert "total_loss: 2  time: 2.0000  pictures/s: 0.5" in caplog.text


@pytest.mark.parametrize(("waited", "warned"), [(0.19, False), (0.21, True)])
def test_a_run_that_waits_for_data_is_told_once(waited, warned, storage, caplog):
    line = ProgressLine(9, window=2, batch=1)
    for storage.iter in range(4):
        storage.put_scalars(total_loss=1.0, time=1.0, data_time=waited)
        line.write()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["21% of a step goes by waiting for data: raise DATALOADER.NUM_WORKERS"] * warned
