"""What a person sees of a run: the bar in a terminal, lines elsewhere."""

import pytest
import torch
from small_training import CONFIG, SMALL, as_opts, write_squares

from ovss import hub
from ovss.d2.api import setup_logger
from ovss.d2.training import trainer

pytestmark = pytest.mark.usefixtures("restored_loggers")


def train(folder, **settings):
    keys = {key.replace("__", "."): value for key, value in settings.items()}
    data = write_squares(folder / "data")
    cfg = hub.load(CONFIG, as_opts(SMALL, data, {"OUTPUT_DIR": str(folder / "out")}, keys))
    torch.manual_seed(3)
    running = trainer.Trainer(cfg)
    running.train()
    return running


def test_pictures_change_nothing(tmp_path):
    runs = [train(tmp_path / str(period), VIS_PERIOD=period, DATASETS__TEST=()) for period in (0, 1)]
    states = [run.model.state_dict() for run in runs]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_in_a_terminal_else_lines(terminal, tmp_path, monkeypatch, capsys):
    """Lines of progress are in the log file in any case, and beside a bar there alone."""
    monkeypatch.setattr(trainer, "in_terminal", lambda: terminal)
    setup_logger(str(tmp_path / "out"), name="ovss")
    train(tmp_path, SOLVER__MAX_ITER=3, DATASETS__TEST=())
    printed = capsys.readouterr()
    for shown in ("3/3", "loss ", "lr "):
        assert (shown in printed.err) == terminal
    assert ("iter: 2  total_loss: " in printed.out + printed.err) != terminal
    assert "trained model: " in printed.out + printed.err
    log = (tmp_path / "out/log.txt").read_text()
    assert "iter: 2  total_loss: " in log
    assert "trained model: " in log
