"""Mixed precision: both versions of CAT-Seg run in it, their gradients are those of float32 nearly, settings."""

import pytest
import torch
from cat_seg_parts import small_first_model, small_images, small_model
from small_training import CONFIG, SMALL, as_opts, write_squares

from cat_seg.class_layer import attend, sum_up
from cat_seg.cost import cost_volume, unit
from cat_seg.training import pixel_loss, set_trainable
from ovss import hub
from ovss.clip.embeddings import embed_rows
from ovss.d2.training.precision import autocast_dtype, with_engine_amp
from ovss.d2.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("restored_loggers")
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
LOSS_SCALE = 4096
ROWS = [("sand",), ("red square",), ("blue square",), ("sky",), ("tree",)]


def gradients(model, autocast=None):
    """All gradients (N,) of a loss of three labelled pictures, the text tower's included, and the loss."""
    set_trainable(model, "full", backbone=True)
    model.train().zero_grad()
    labels = torch.randint(0, 5, (3, 40, 56), generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        text = embed_rows(model.clip, ROWS, ["a photo of a {}"], False)
        loss = pixel_loss(model.logits(small_images(3), text), labels, 255, True)
    assert loss.dtype == torch.float32
    (loss * LOSS_SCALE).backward()
    found = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return torch.cat(found) / LOSS_SCALE, loss.item()


@pytest.mark.parametrize(("name", "bound"), [("bfloat16", 0.03), ("float16", 0.006)])
@pytest.mark.parametrize("build", [small_model, small_first_model])
@pytest.mark.parametrize("prompted", [False, True])
def test_gradients_are_nearly_those_of_float32(small_clip, build, name, bound, prompted):
    """By the norm of their difference, relative; bfloat16 has 3 bits less than float16."""
    model = build(small_clip)
    if prompted:
        torch.manual_seed(5)
        model.clip.visual.add_prompts(2, 3)
    expected, loss = gradients(model)
    found, near = gradients(model, HALVES[name])
    assert (found - expected).norm() < bound * expected.norm()
    assert near == pytest.approx(loss, rel=bound / 10)


@pytest.mark.parametrize("dtype", HALVES.values())
def test_cosines_are_never_rounded(dtype):
    features, text = torch.randn(1, 8, 2, 2), torch.randn(1, 3, 1, 8)
    with torch.autocast("cpu", dtype=dtype):
        found = cost_volume(unit(features, dim=1), unit(text, dim=-1))
    assert torch.equal(found, cost_volume(unit(features, dim=1), unit(text, dim=-1)))


@pytest.mark.parametrize("dtype", HALVES.values())
@pytest.mark.parametrize("size", [-12.0, -9.0, 200.0, 3000.0])
def test_attention_among_classes_is_never_lost(dtype, size):
    """In half precision elu + 1 is 0 at -9, and a sum of 32 products of 200 is too large for float16."""
    query, key = torch.full((1, 5, 2, 1, 32), size), torch.full((1, 7, 2, 1, 32), size)
    value = torch.arange(7.0).view(1, 7, 1, 1, 1).expand(1, 7, 2, 1, 32)
    expected = attend(query, sum_up(key, value))
    halves = [part.to(dtype).requires_grad_() for part in (query, key, value)]
    with torch.autocast("cpu", dtype=dtype):
        found = attend(halves[0], sum_up(*halves[1:]))
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found.sum(), halves))


def config(**settings):
    return hub.load(CONFIG, as_opts({f"SOLVER.{key.replace('__', '.')}": value for key, value in settings.items()}))


def test_settings():
    cpu = torch.device("cpu")
    assert autocast_dtype(config(), cpu) is None
    assert autocast_dtype(config(AMP__ENABLED=True), cpu) == torch.bfloat16
    assert autocast_dtype(config(AMP__ENABLED=True, AMP__DTYPE="float16"), cpu) == torch.float16
    with pytest.raises(ValueError, match=r"unknown SOLVER.AMP.DTYPE 'half'; known: bfloat16, float16"):
        autocast_dtype(config(AMP__ENABLED=True, AMP__DTYPE="half"), cpu)
    cfg = config(AMP__ENABLED=True)
    assert not with_engine_amp(cfg, False).SOLVER.AMP.ENABLED
    assert cfg.SOLVER.AMP.ENABLED


def test_an_old_gpu_has_no_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(ValueError, match="bfloat16, but Tesla T4 has no units for it: take float16"):
        autocast_dtype(config(AMP__ENABLED=True), torch.device("cuda"))


@pytest.mark.parametrize("name", HALVES)
def test_training_learns_in_half_precision(tmp_path, name):
    """Words of a frozen text tower are not rounded; the scaler of float16 is in the checkpoint."""
    data = write_squares(tmp_path / "data")
    settings = {"SOLVER.MAX_ITER": 20, "DATASETS.TEST": (), "OUTPUT_DIR": str(tmp_path / "out")}
    settings |= {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.DTYPE": name, "MODEL.CAT_SEG.CLIP_FINETUNE": "none"}
    torch.manual_seed(3)
    trainer = Trainer(hub.load(CONFIG, as_opts(SMALL, data, settings)))
    assert trainer.cfg.SOLVER.AMP.ENABLED
    trainer.train()
    losses = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert ("loss_scale" in trainer.storage.histories()) == (name == "float16")
    ((text, _),) = trainer.model._text.values()
    assert text.dtype == torch.float32
    state = torch.load(tmp_path / "out/model_final.pth", weights_only=True)["trainer"]["_trainer"]
    assert ("grad_scaler" in state) == (name == "float16")
