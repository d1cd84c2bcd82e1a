"""The trainer, on Detectron2 and on lite alike: what it leaves, resuming, fresh text, weights that are loaded once."""

import json

import pytest
import torch
from safetensors import safe_open
from small_training import CONFIG, SMALL, as_opts, write_squares

from ovss import hub
from ovss.clip.embeddings import embed_rows
from ovss.d2.api import HookBase
from ovss.d2.segmentor import Segmentor
from ovss.d2.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("restored_loggers")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares") / "data")


@pytest.fixture
def start(data, tmp_path):
    """A trainer with its output in a folder of that name."""

    def build(name="out", resume=False, **settings):
        keys = {key.replace("__", "."): value for key, value in settings.items()}
        cfg = hub.load(CONFIG, as_opts(SMALL, data, {"OUTPUT_DIR": str(tmp_path / name)}, keys))
        torch.manual_seed(3)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume)
        return trainer

    return build


class Interrupt(HookBase):
    """Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def after_step(self):
        if self.trainer.iter == self.step:
            raise KeyboardInterrupt


def test_a_run_leaves_checkpoints_numbers_and_scores(start, tmp_path):
    trainer = start(SOLVER__CHECKPOINT_PERIOD=2, TEST__EVAL_PERIOD=2)
    trainer.train()
    out = tmp_path / "out"
    assert {path.name for path in out.glob("*.pth")} == {"model_0000001.pth", "model_0000003.pth", "model_final.pth"}
    assert (out / "last_checkpoint").read_text() == "model_final.pth"
    assert [path.name for path in out.rglob("*") if "tmp" in path.name] == []
    lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
    scalars = {key for line in lines for key in line}
    assert {"total_loss", "lr", "gradient_norm", "folder/mIoU_gt", "folder/pAcc"} <= scalars
    assert json.loads((out / "inference/folder.json").read_text())["classes"] == ["sand", "red square", "blue square"]
    saved = torch.load(out / "model_final.pth", weights_only=True)
    assert {"model", "trainer"} <= set(saved)
    assert all(torch.equal(value, saved["model"][key]) for key, value in trainer.model.state_dict().items())


def test_the_loss_falls(start):
    trainer = start(SOLVER__MAX_ITER=40, DATASETS__TEST=())
    trainer.train()
    losses = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert len(losses) == 40
    assert sum(losses[-8:]) < 0.6 * sum(losses[:8])


class Gradients(HookBase):
    """Notes how many trained parameters have a gradient when all should."""

    def __init__(self):
        self.without = []

    def after_backward(self):
        trained = [parameter for parameter in self.trainer.model.parameters() if parameter.requires_grad]
        self.without.append(sum(parameter.grad is None for parameter in trained))


def test_hooks_come_between_gradients_and_step(start):
    trainer, gradients = start(SOLVER__MAX_ITER=2, DATASETS__TEST=()), Gradients()
    trainer.register_hooks([gradients])
    trainer.train()
    assert gradients.without == [0, 0]


@pytest.mark.parametrize("accumulate", [0, 3])
def test_micro_batches_must_share_a_batch(start, accumulate):
    with pytest.raises(ValueError, match=rf"SOLVER.ACCUMULATE {accumulate} must divide the 4 crops of each process"):
        start(SOLVER__ACCUMULATE=accumulate)


@pytest.mark.parametrize("ignored_as_negative", [True, False])
def test_micro_batches_take_the_steps_of_the_whole_batch(start, ignored_as_negative):
    """Of crops with shares of labelled pixels that differ."""
    settings = {"DATASETS__TEST": (), "SOLVER__MAX_ITER": 1, "LOSS__IGNORED_AS_NEGATIVE": ignored_as_negative}
    found = []
    for accumulate in (1, 2, 4):
        trainer = start(str(accumulate), SOLVER__ACCUMULATE=accumulate, **settings)
        trainer.train()
        found.append([trainer.storage.history(name).latest() for name in ("total_loss", "gradient_norm")])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


def with_noise(trainer):
    """The trainer of a model that draws: its logits are noisy."""
    trainer.model.model.aggregator.register_forward_hook(lambda module, given, logits: logits + torch.rand(1))
    return trainer


def test_a_resumed_run_ends_as_an_unbroken_one(start, tmp_path):
    settings = {"SOLVER__MAX_ITER": 7, "SOLVER__CHECKPOINT_PERIOD": 3, "DATASETS__TEST": ()}
    whole = with_noise(start("whole", **settings))
    whole.train()
    broken = with_noise(start("broken", **settings))
    broken.register_hooks([Interrupt(4)])
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    assert (tmp_path / "broken/last_checkpoint").read_text() == "model_0000002.pth"
    torch.manual_seed(99)
    resumed = with_noise(start("broken", resume=True, **settings))
    assert resumed.start_iter == 3
    resumed.train()
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.model.state_dict().items())
    mine, theirs = (run.optimizer.state_dict() for run in (resumed, whole))
    assert mine["param_groups"] == theirs["param_groups"]
    for moments, others in zip(mine["state"].values(), theirs["state"].values(), strict=True):
        assert all(torch.equal(value, others[kind]) for kind, value in moments.items())
    losses = [run.storage.history("total_loss").values()[-4:] for run in (whole, resumed)]
    assert losses[0] == losses[1]


def test_nothing_to_resume_starts_anew_and_says_so(start, caplog):
    trainer = start("empty", resume=True)
    assert trainer.start_iter == 0
    assert "no checkpoint in" in caplog.text


CANNOT_RESUME = {
    "another model": ({"MODEL__CAT_SEG__LAYERS": 2}, r"is not of this config's model: \d+ missing"),
    "other parameters": ({"MODEL__CAT_SEG__CLIP_FINETUNE": "none"}, r"this config trains \d+, .* set CLIP_FINETUNE"),
    "another batch": (
        {"SOLVER__IMS_PER_BATCH": 2},
        "is of a run on other crops: SOLVER.IMS_PER_BATCH 2, the run had 4",
    ),
    "another seed": ({"SEED": 8}, "is of a run on other crops: SEED 8, the run had 7. Set them as they were"),
    "another rate": ({"SOLVER__BASE_LR": 1.0}, "trained .* with a rate of 2e-05, this config has 0.01: set BASE_LR"),
    "fewer iterations": ({"SOLVER__MAX_ITER": 1}, "is of iteration 2, SOLVER.MAX_ITER is 1: there is nothing left"),
}


def test_a_checkpoint_that_cannot_be_resumed(start):
    start(DATASETS__TEST=(), SOLVER__MAX_ITER=2).train()
    for settings, message in CANNOT_RESUME.values():
        with pytest.raises(ValueError, match=rf"model_final.pth .*{message}"):
            start(resume=True, **settings)


def test_a_checkpoint_is_read_once(start, monkeypatch):
    start(DATASETS__TEST=(), SOLVER__MAX_ITER=1).train()
    read, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda path, **how: read.append(path) or load(path, **how))
    assert start(resume=True).start_iter == 1
    assert len(read) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"INPUT__INTERPOLATION_TEST": "foo"}, "unknown INPUT.INTERPOLATION_TEST 'foo'"),
        ({"INPUT__SIZE_FIT": "padd"}, "unknown INPUT.SIZE_FIT 'padd'"),
        ({"TEST__AUG__ENABLED": True, "TEST__AUG__MIN_SIZES": ()}, r"TEST.AUG.MIN_SIZES \(\) and MAX_SIZE"),
    ],
)
def test_a_mistake_in_the_test_is_met_before_training(start, settings, message):
    with pytest.raises(ValueError, match=message):
        start(**settings)


def test_the_packaged_model_is_there_before_the_last_evaluation(start, tmp_path, monkeypatch):
    trainer, package = start(), tmp_path / "out/model_final.safetensors"

    def fail(*_):
        assert package.is_file()
        raise ValueError("a picture that cannot be read")

    monkeypatch.setattr("ovss.d2.training.trainer.evaluate", fail)
    with pytest.raises(ValueError, match="a picture that cannot be read"):
        trainer.train()
    with safe_open(package, "pt") as saved:
        for key, value in trainer.model.state_dict().items():
            assert torch.equal(saved.get_tensor(key), value)


def test_the_log_says_why_training_has_failed(start, monkeypatch, caplog):
    trainer = start(DATASETS__TEST=())
    monkeypatch.setattr(trainer.step, "optimizer", None)
    with pytest.raises(AttributeError):
        trainer.train()
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.message.startswith("training has failed: ")


def test_weights_are_loaded_by_the_model(start, tmp_path):
    first = start(DATASETS__TEST=(), SOLVER__MAX_ITER=1)
    first.train()
    second = start("second", MODEL__WEIGHTS=str(tmp_path / "out/model_final.pth"))
    assert second.start_iter == 0
    expected = first.model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in second.model.state_dict().items())


def test_no_evaluation_sees_stale_text(start, monkeypatch):
    """Text is remembered within an evaluation, and each one meets what training has made of the text tower."""
    remember, evaluations = Segmentor.text, []

    def note(self, vocabulary):
        rows, _ = vocabulary.phrases(self.synonyms)
        text, classes = remember(self, vocabulary)
        fresh = embed_rows(self.model.clip, rows, self.prompts, self.average_prompts)
        evaluations.append((text.clone(), fresh))
        return text, classes

    monkeypatch.setattr(Segmentor, "text", note)
    trainer = start(TEST__EVAL_PERIOD=2, SOLVER__CLIP_MULTIPLIER=1.0)
    trainer.train()
    assert len(evaluations) == 2 * 6  # of six pictures each
    for text, fresh in evaluations:
        torch.testing.assert_close(text, fresh, atol=1e-6, rtol=0)
    assert torch.equal(evaluations[0][0], evaluations[5][0])
    assert (evaluations[0][0] - evaluations[6][0]).abs().max() > 1e-4


@pytest.mark.parametrize(("way", "trains"), [("none", False), ("attention", True)])
def test_text_has_gradients_where_its_tower_trains(start, way, trains, monkeypatch):
    trainer = start(MODEL__CAT_SEG__CLIP_FINETUNE=way)
    given = []
    logits = trainer.model.model.logits
    monkeypatch.setattr(trainer.model.model, "logits", lambda images, text: given.append(text) or logits(images, text))
    trainer.model(next(iter(trainer.data_loader)))
    assert [text.requires_grad for text in given] == [trains]
