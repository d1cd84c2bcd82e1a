"""From which checkpoint a run goes on, and every reason why it cannot. On a model of two numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ovss.d2.training.resume import newest_checkpoint, read_checkpoint


class Line(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)


def adam(model, names=("weight", "bias"), rate=0.5, decay=0.25):
    """An optimizer in one group, stepped once, with the rate that a schedule notes."""
    parameters = [model.get_parameter(name) for name in names]
    group = {"params": parameters, "names": [*names], "lr": rate, "weight_decay": decay, "initial_lr": rate}
    optimizer = torch.optim.AdamW([group])
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


@pytest.fixture
def run():
    """Model and optimizer of a run after its third iteration, and the content of its checkpoint."""
    model = Line()
    optimizer = adam(model)
    return model, optimizer, content_of(model, optimizer)


def content_of(model, optimizer, iteration=2):
    trainer = {"iteration": iteration, "_trainer": {"iteration": iteration, "optimizer": optimizer.state_dict()}}
    return {"model": model.state_dict(), "trainer": trainer, "iteration": iteration}


def read(folder, content, model, optimizer, max_iter=8):
    torch.save(content, folder / "model_0000002.pth")
    path, found = newest_checkpoint(folder)
    return read_checkpoint(path, found, model=model, optimizer=optimizer, max_iter=max_iter)


def test_what_was_saved_is_read(run, tmp_path):
    model, optimizer, content = run
    tensors, state = read(tmp_path, content, model, optimizer)
    assert {name: value.item() for name, value in tensors.items()} == {
        "weight": model.weight.item(),
        "bias": model.bias.item(),
    }
    assert state["iteration"] == 2
    assert state["_trainer"]["optimizer"] == optimizer.state_dict()


def test_a_group_for_each_parameter_as_earlier_checkpoints_have(run, tmp_path):
    model, optimizer, content = run
    saved = content["trainer"]["_trainer"]["optimizer"]
    settings = {key: value for key, value in saved["param_groups"][0].items() if key not in ("params", "names")}
    saved["param_groups"] = [{**settings, "params": [0], "name": "bias"}, {**settings, "params": [1], "name": "weight"}]
    saved["state"] = {0: saved["state"][1], 1: saved["state"][0]}
    content["trainer"]["hooks"] = {"LRScheduler": {"base_lrs": [0.5, 0.5], "last_epoch": 3}}
    _, state = read(tmp_path, content, model, optimizer)
    assert state["_trainer"]["optimizer"] == optimizer.state_dict()
    assert state["hooks"] == {"LRScheduler": {"base_lrs": [0.5], "last_epoch": 3}}


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


def test_another_optimizer(run, tmp_path):
    model, optimizer, content = run
    with pytest.raises(ValueError, match=r"trained weight with a rate of 0.5, this config has 0.1: set BASE_LR, "):
        read(tmp_path, content, model, adam(Line(), rate=0.1))
    with pytest.raises(ValueError, match=r"trained weight with a decay of 0.25, this config has 0: set BASE_LR, "):
        read(tmp_path, content, model, adam(Line(), decay=0))
    group = {"params": [*model.parameters()], "names": ["weight", "bias"], "initial_lr": 0.5}
    with pytest.raises(ValueError, match=r"run that had SOLVER.OPTIMIZER ADAMW, this config has SGD: set it as"):
        read(tmp_path, content, model, torch.optim.SGD([group], 0.5, weight_decay=0.25))
    for name in ("names", "params"):
        content["trainer"]["_trainer"]["optimizer"]["param_groups"][0][name] = []
    with pytest.raises(ValueError, match=r"trained 0 parameters, this config trains 2"):  # another program's
        read(tmp_path, content, model, optimizer)


def test_no_iterations_left(run, tmp_path):
    model, optimizer, content = run
    for left in (3, 4):
        assert read(tmp_path, content, model, optimizer, max_iter=left)[1]["iteration"] == 2
    with pytest.raises(ValueError, match=r"is of iteration 3, SOLVER.MAX_ITER is 2: there is nothing left to train"):
        read(tmp_path, content, model, optimizer, max_iter=2)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A folder with the checkpoints of iterations 2, 5 and, as model_final.pth, 7, which last_checkpoint names."""
    folder = tmp_path_factory.mktemp("three")
    for name, iteration in (("0000002", 2), ("0000005", 5), ("final", 7)):
        model = Line()
        torch.save(content_of(model, adam(model), iteration), folder / f"model_{name}.pth")
    (folder / "last_checkpoint").write_text("model_final.pth")
    return folder


@pytest.fixture
def folder(three, tmp_path):
    for path in three.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_the_named_one_is_taken_even_where_there_are_newer(folder, caplog):
    for name, iteration in (("model_final.pth", 7), ("model_0000002.pth", 2)):
        (folder / "last_checkpoint").write_text(f"{name}\n")
        path, content = newest_checkpoint(folder)
        assert (path.name, content["iteration"]) == (name, iteration)
    assert caplog.text == ""
    assert newest_checkpoint(folder / "nowhere") is None


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "no checkpoint": lambda data: b"a letter to someone",
    "wrong end": lambda data: data[:-40] + bytes([data[-40] ^ 255]) + data[-39:],  # where a ZIP says how to read it
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_newest_good_one_beside_a_damaged_one(kind, folder, caplog):
    def damage(name):
        path = folder / f"model_{name}.pth"
        path.write_bytes(DAMAGE[kind](path.read_bytes()))

    damage("final")
    assert newest_checkpoint(folder)[1]["iteration"] == 5
    assert "model_final.pth: damaged" in caplog.text
    assert f"taking {folder / 'model_0000005.pth'}, the newest good checkpoint beside it" in caplog.text
    damage("0000005")
    assert newest_checkpoint(folder)[1]["iteration"] == 2
    damage("0000002")
    with pytest.raises(
        ValueError, match=r"no good checkpoint in .*model_final.*model_0000005.*model_0000002.*OUTPUT_DIR"
    ):
        newest_checkpoint(folder)


def test_a_name_that_is_missing_or_of_no_file(folder, caplog):
    note = folder / "last_checkpoint"
    for content in (b"", b"model_0000009.pth", b"\xff\xff", None):
        note.unlink()
        if content is not None:
            note.write_bytes(content)
        caplog.clear()
        assert newest_checkpoint(folder)[1]["iteration"] == 7  # by what is in model_final.pth
        assert "damaged" in caplog.text or "no such file" in caplog.text
        note.touch()


@given(data=st.data())
def test_no_flipped_bit_is_read_over(three, data):
    """Wherever it is: the checkpoint is refused, or says what it said."""
    source = three / "model_0000005.pth"
    content = bytearray(source.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (three / "flipped").mkdir(exist_ok=True)
    (three / "flipped/model_0000005.pth").write_bytes(content)
    expected = torch.load(source, weights_only=True)
    try:
        _, found = newest_checkpoint(three / "flipped")
    except ValueError as error:
        assert "model_0000005.pth" in str(error)  # noqa: PT017 (either may be)
        return
    assert (
        found["trainer"]["_trainer"]["optimizer"]["param_groups"]
        == (expected["trainer"]["_trainer"]["optimizer"]["param_groups"])
    )
    assert all(torch.equal(value, expected["model"][key]) for key, value in found["model"].items())
