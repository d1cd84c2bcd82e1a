"""A loss that is not finite ends training in all processes before the weights change, and says which crops it was."""

import json
import math
import subprocess
import sys

import pytest
import torch
from small_training import CONFIG, ROOT, SMALL, as_opts, write_squares

from ovss import hub
from ovss.d2.api import HookBase
from ovss.d2.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("restored_loggers")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares") / "data")


class Spoil(HookBase):
    """Makes the logits of a step infinite."""

    def __init__(self, step):
        self.step = step

    def before_train(self):
        self.trainer.model.model.aggregator.register_forward_hook(self.spoil)

    def spoil(self, module, given, logits):
        return logits * math.inf if self.trainer.iter == self.step else logits


def test_its_crops_can_be_made_again(data, tmp_path, caplog):
    settings = {"SOLVER.CHECKPOINT_PERIOD": 2, "DATASETS.TEST": (), "OUTPUT_DIR": str(tmp_path)}
    trainer = Trainer(hub.load(CONFIG, as_opts(SMALL, data, settings)))
    trainer.register_hooks([Spoil(2)])
    with pytest.raises(SystemExit) as ended:
        trainer.train()
    assert ended.value.code == 1
    kept = json.loads((tmp_path / "not_finite.json").read_text())
    assert kept["iteration"] == 2
    assert kept["losses"] == {"loss_sem_seg": "nan"}
    assert kept["last_checkpoint"] == "model_0000001.pth"
    (process,) = kept["processes"]
    assert process["losses"] == kept["losses"]
    assert [picture["place"] for picture in process["pictures"]] == [8, 9, 10, 11]
    stream = trainer.data_loader.dataset
    assert kept["seed"] == stream.seed
    for picture in process["pictures"]:
        assert stream[picture["place"]]["file_name"] == picture["file_name"]
    saved = torch.load(tmp_path / "model_0000001.pth", weights_only=True)["model"]
    assert all(torch.equal(value, saved[key]) for key, value in trainer.model.state_dict().items())
    assert not (tmp_path / "model_final.pth").exists()
    (message,) = [record.message for record in caplog.records if "not finite" in record.message]
    assert f"are in {tmp_path / 'not_finite.json'}, weights unchanged, the last checkpoint is model_0000001" in message


@pytest.mark.slow
def test_two_processes_end_together_with_one_message(data, tmp_path):
    """A step at this rate makes the weights infinite."""
    settings = {"SOLVER.BASE_LR": 1e30, "DATASETS.TEST": (), "OUTPUT_DIR": str(tmp_path)}
    command = [sys.executable, "train_net.py", "--config-file", CONFIG, "--num-gpus", "2"]
    ended = subprocess.run(
        [*command, *as_opts(SMALL, data, settings)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert ended.stdout.count("is not finite") == 1
    kept = json.loads((tmp_path / "not_finite.json").read_text())
    places = [[picture["place"] for picture in process["pictures"]] for process in kept["processes"]]
    first = 4 * kept["iteration"]
    assert places == [[first, first + 1], [first + 2, first + 3]]
    assert kept["last_checkpoint"] is None
