"""What a run writes beside the log: TensorBoard files, read back, and settings that cannot be kept."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from small_training import CONFIG, SMALL, as_opts, write_squares
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ovss import hub
from ovss.d2.api import EventStorage
from ovss.d2.training.trainer import Trainer
from ovss.d2.watch.board import TensorBoard

pytestmark = pytest.mark.usefixtures("restored_loggers")
RED = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 2, 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares") / "data")


@pytest.fixture
def config(data, tmp_path):
    def load(**settings):
        keys = {key.replace("__", "."): value for key, value in settings.items()}
        return hub.load(CONFIG, as_opts(SMALL, data, {"OUTPUT_DIR": str(tmp_path / "out")}, keys))

    return load


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_tensorboard_holds_scalars_pictures_and_the_config(config, tmp_path):
    trainer = Trainer(config(SOLVER__MAX_ITER=5, VIS_PERIOD=2, LOG_PERIOD=2))
    trainer.train()
    assert trainer.model.training
    found = events(tmp_path / "out")
    assert {"total_loss", "lr", "gradient_norm", "time", "data_time", "max_memory", "folder/mIoU_gt"} <= set(
        found.Tags()["scalars"]
    )
    assert [event.step for event in found.Scalars("total_loss")] == [1, 3, 4]
    losses = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert found.Scalars("total_loss")[0].value == pytest.approx(np.median(losses[:2]))
    assert [event.step for event in found.Scalars("folder/mIoU_gt")] == [5]
    (text,) = found.Tensors("config/text_summary")
    assert b"LOG_PERIOD: 2" in text.tensor_proto.string_val[0]
    pictures = found.Images("sample")
    assert [picture.step for picture in pictures] == [1, 3]
    sheet = np.asarray(Image.open(io.BytesIO(pictures[0].encoded_image_string)).convert("RGB"))
    assert sheet.shape[1] > 2.5 * sheet.shape[0]  # three side by side
    assert np.ptp(sheet, axis=(0, 1)).min() > 200
    assert trainer.storage._vis_data == []


def test_a_resumed_run_takes_the_place_of_what_was_broken_off(config, tmp_path):
    for start, value in ((0, 1.0), (3, 2.0)):
        board = TensorBoard(config(LOG_PERIOD=1), start)
        with EventStorage(start) as storage:
            for storage.iter in range(start, start + 5):
                storage.put_scalar("loss", value)
                storage.put_image("red", RED)
                board.write()
            board.write()  # nothing is written twice
        board.close()
    found = events(tmp_path / "out")
    losses = [(event.step, event.value) for event in found.Scalars("loss")]
    assert losses == [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 2), (6, 2), (7, 2)]
    assert [picture.step for picture in found.Images("red")] == [*range(8)]
    shown = np.asarray(Image.open(io.BytesIO(found.Images("red")[0].encoded_image_string)))
    assert shown.tolist() == [[[255, 0, 0]] * 4] * 2


def test_a_period_below_one_is_refused(config):
    with pytest.raises(ValueError, match="LOG_PERIOD 0: must be at least 1 iteration"):
        Trainer(config(LOG_PERIOD=0))
