"""From which checkpoint a run goes on, and every reason why it cannot. On a model of two numbers."""

import pytest
import torch
from torch import nn

from ovss.d2.resume import last_checkpoint, read_checkpoint


class Line(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)


def adam(model, names=("weight", "bias")):
    return torch.optim.AdamW([{"params": [model.get_parameter(name)], "name": name} for name in names])


@pytest.fixture
def run(tmp_path):
    """Model and optimizer of a run after its third iteration, and the content of its checkpoint."""
    model = Line()
    optimizer = adam(model)
    trainer = {"iteration": 2, "_trainer": {"iteration": 2, "optimizer": optimizer.state_dict()}}
    return model, optimizer, {"model": model.state_dict(), "trainer": trainer}


def read(folder, content, model, optimizer, max_iter=8):
    torch.save(content, folder / "model_0000002.pth")
    return read_checkpoint(str(folder / "model_0000002.pth"), model=model, optimizer=optimizer, max_iter=max_iter)


def test_what_was_saved_is_read(run, tmp_path):
    model, optimizer, content = run
    tensors, state = read(tmp_path, content, model, optimizer)
    assert {name: value.item() for name, value in tensors.items()} == {
        "weight": model.weight.item(),
        "bias": model.bias.item(),
    }
    assert state["iteration"] == 2
    assert state["_trainer"]["optimizer"] == optimizer.state_dict()


@pytest.mark.parametrize("missing", ["trainer", "iteration", "_trainer"])
def test_weights_without_a_state_of_training(missing, run, tmp_path):
    model, optimizer, content = run
    (content if missing == "trainer" else content["trainer"]).pop(missing)
    message = r"model_0000002.pth holds weights, but no state of a training run .* MODEL.WEIGHTS .*, without --resume"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content, model, optimizer)


def test_another_model(run, tmp_path):
    _, optimizer, content = run
    with pytest.raises(
        ValueError, match=r"is not of this config's model: .* \(1, 1\) in the file, \(1, 2\) in the model"
    ):
        read(tmp_path, content, nn.Linear(2, 1), optimizer)


FEWER, MORE = (["weight"], 1, "bias"), (["weight", "bias", "scale"], 3, "scale")


@pytest.mark.parametrize(("names", "count", "odd"), [FEWER, MORE])
def test_other_trained_parameters(names, count, odd, run, tmp_path):
    model, _, content = run
    model_now = Line()
    model_now.scale = nn.Parameter(torch.ones(1))
    optimizer = adam(model_now, names)
    message = rf"trained 2 parameters, this config trains {count}, {odd} in one of them alone: set CLIP_FINETUNE"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content, model, optimizer)


def test_no_iterations_left(run, tmp_path):
    model, optimizer, content = run
    assert read(tmp_path, content, model, optimizer, max_iter=4)[1]["iteration"] == 2
    with pytest.raises(ValueError, match=r"of iteration 3, SOLVER.MAX_ITER is 3: the run is complete; .* --eval-only"):
        read(tmp_path, content, model, optimizer, max_iter=3)
    with pytest.raises(ValueError, match=r"of iteration 3, SOLVER.MAX_ITER is 2: there is nothing left to train"):
        read(tmp_path, content, model, optimizer, max_iter=2)


def test_damaged(run, tmp_path):
    model, optimizer, _ = run
    path = tmp_path / "model.pth"
    torch.save({}, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"model.pth: damaged, or not a file of weights"):
        read_checkpoint(str(path), model=model, optimizer=optimizer, max_iter=8)


def test_last_checkpoint(tmp_path):
    assert last_checkpoint(str(tmp_path)) == ""
    note = tmp_path / "last_checkpoint"
    for name in ("", "model_0000002.pth"):
        note.write_text(name)
        with pytest.raises(ValueError, match=rf"last_checkpoint should name a checkpoint .*, but .*{name} is no file"):
            last_checkpoint(str(tmp_path))
    (tmp_path / "model_0000002.pth").touch()
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / "model_0000002.pth")
