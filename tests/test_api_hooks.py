"""The seam: hooks, event storage and writers, on Detectron2 and on lite alike."""

import numpy as np
import pytest
import torch
from line_trainer import Notes, Trainer, by_hand, json_lines, settings
from torch import nn

from ovss.d2 import api

pytestmark = pytest.mark.usefixtures("restored_loggers")


def test_hooks_come_at_their_iterations(tmp_path):
    cfg = settings(tmp_path, MAX_ITER=5, CHECKPOINT_PERIOD=2)
    cfg.TEST.EVAL_PERIOD = 2
    events, weights = [], []
    trainer = Trainer(cfg)

    def score():
        events.append(("evaluate", trainer.iter))
        weights.append(trainer.model.line.weight[0, 0].item())

    evaluate = api.hooks.EvalHook(2, score)
    trainer.register_hooks([Notes(events), evaluate])
    trainer.train()
    steps = [[("before_step", i), ("after_step", i)] for i in range(5)]
    assert events == [
        ("before_train", 0),
        *steps[0],
        *steps[1],
        ("evaluate", 1),
        *steps[2],
        *steps[3],
        ("evaluate", 3),
        *steps[4],
        ("after_train", 5),
        ("evaluate", 5),
    ]
    checkpoints = sorted(path.name for path in tmp_path.glob("*.pth"))
    assert checkpoints == ["model_0000001.pth", "model_0000003.pth", "model_final.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    saved = [torch.load(tmp_path / name, weights_only=True)["model"]["line.weight"] for name in checkpoints]
    assert [weight[0, 0].item() for weight in saved] == weights
    scores = {line["iteration"]: line["drawn/weight"] for line in json_lines(tmp_path) if "drawn/weight" in line}
    assert scores == pytest.approx({3: weights[1], 5: weights[2]})  # the latest of each time that was written


def test_metrics_hold_what_happened(tmp_path):
    cfg = settings(tmp_path, MAX_ITER=25)
    model, losses, rates = by_hand(cfg)
    trainer = Trainer(cfg)
    trainer.register_hooks([None])
    trainer.train()
    expected = {19: (np.median(losses[:20]), rates[19]), 24: (np.median(losses[5:25]), rates[24])}
    *lines, last = json_lines(tmp_path)
    for index, name in enumerate(("total_loss", "lr")):
        values = {step: both[index] for step, both in expected.items()}
        assert {line["iteration"]: line[name] for line in lines} == pytest.approx(values)
    assert {"loss_fit", "loss_size", "time", "data_time"} < {*lines[0]}
    weight = model.line.weight[0, 0].item()
    assert last == {"iteration": 25, "drawn/weight": pytest.approx(weight)}


def test_pictures_wait_for_a_writer():
    with api.EventStorage(4) as storage:
        red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 2, 4)
        storage.put_image("red", red)
        ((name, picture, iteration),) = storage._vis_data
        assert (name, iteration) == ("red", 4)
        assert torch.equal(picture, red)
        storage.clear_images()
        assert storage._vis_data == []


def test_storage_smooths_what_is_noisy():
    with api.EventStorage(0) as storage:
        for iteration, loss in enumerate((9.0, 1.0, 5.0, 2.0, 4.0)):
            storage.iter = iteration
            storage.put_scalar("loss", loss)
            storage.put_scalars(lr=0.1 * loss, smoothing_hint=False)
            if iteration in (0, 4):
                storage.put_scalar("rare", loss)
        assert api.get_event_storage() is storage
        assert storage.latest() == {"loss": (4.0, 4), "lr": (0.4, 4), "rare": (4.0, 4)}
        smooth = storage.latest_with_smoothing_hint(4)
        assert smooth == {"loss": (3.0, 4), "lr": (0.4, 4), "rare": (4.0, 4)}  # median of 1, 2, 4, 5
        assert (storage.count_samples("loss", 4), storage.count_samples("rare", 4)) == (4, 1)
        assert storage.latest_with_smoothing_hint(5)["rare"] == (6.5, 4)
        assert storage.history("loss").global_avg() == pytest.approx(4.2)
        assert {*storage.histories()} == {"loss", "lr", "rare"}
        with pytest.raises((AssertionError, ValueError), match="loss"):
            storage.put_scalar("loss", 1.0, smoothing_hint=False)
        with pytest.raises(KeyError, match="loss_mask"):
            storage.history("loss_mask")
        with api.EventStorage(7) as inner:
            assert api.get_event_storage() is inner
        assert api.get_event_storage() is storage
    with pytest.raises((AssertionError, RuntimeError), match="EventStorage"):
        api.get_event_storage()


def test_the_rate_of_what_trains_at_the_base_rate_is_shown(tmp_path):
    class Groups(Trainer):
        @classmethod
        def build_optimizer(cls, cfg, model):
            extra = [nn.Parameter(torch.zeros(1)) for _ in range(3)]
            return torch.optim.SGD(
                [{"params": extra, "lr": cls.rates[0]}, {"params": [*model.parameters()], "lr": cls.rates[1]}]
            )

    for index, (rates, shown) in enumerate((((0.001, 0.1), 0.1), ((0.5, 0.1), 0.1), ((0.001, 0.01), 0.01))):
        Groups.rates = rates
        Groups(settings(tmp_path / str(index), MAX_ITER=1)).train()  # BASE_LR is 0.1
        assert json_lines(tmp_path / str(index))[0]["lr"] == pytest.approx(shown)
