"""The seam: inference, checkpoints, models, command line and log, on Detectron2 and on lite alike."""

import numpy as np
import pytest
import torch
from torch import nn

from ovss.d2 import api


class Count(api.DatasetEvaluator):
    """Sums the answers, and forgets them when it is reset."""

    def __init__(self, task):
        self.task, self.total = task, 99

    def reset(self):
        self.total = 0

    def process(self, inputs, outputs):
        self.total += sum(outputs)

    def evaluate(self):
        return {self.task: {"sum": self.total}}


class Doubler(nn.Module):
    """Answers 2 x, and notes the mode it ran in."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.ran = set()

    def forward(self, batch):
        answers = [float(one) * self.weight for one in batch]
        self.ran.add((self.training, any(answer.requires_grad for answer in answers)))
        return [answer.item() for answer in answers]


def test_inference_on_dataset_runs_in_eval_mode_without_gradients():
    model = Doubler().train()
    loader = [[1, 2], [3], [4, 5], [6], [7], [8], [9]]
    assert api.inference_on_dataset(model, loader, [Count("a"), Count("b")]) == {"a": {"sum": 90}, "b": {"sum": 90}}
    assert api.inference_on_dataset(model, loader, None) == {}
    assert model.ran == {(False, False)}
    assert model.training
    with pytest.raises((AssertionError, ValueError), match=r"\ba\b"):
        api.inference_on_dataset(model, loader, [Count("a"), Count("a")])


def test_build_model_by_its_registered_name():
    name = "TestApiModel"
    if name not in api.META_ARCH_REGISTRY:  # a registry cannot forget
        build = {"__init__": lambda self, cfg: nn.Linear.__init__(self, 1, 2)}
        api.META_ARCH_REGISTRY.register(type(name, (nn.Linear,), build))
    cfg = api.get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = name
    assert api.build_model(cfg).weight.shape == (2, 1)
    cfg.MODEL.META_ARCHITECTURE = "TestApiModels"
    with pytest.raises(KeyError, match="TestApiModels"):
        api.build_model(cfg)


def test_parser_and_setup(tmp_path, restored_loggers):
    command = "--config-file c.yaml --num-gpus 2 --eval-only MODEL.DEVICE cpu"
    args = api.default_argument_parser().parse_args(command.split())
    assert (args.config_file, args.num_gpus, args.eval_only, args.resume) == ("c.yaml", 2, True, False)
    assert (args.num_machines, args.machine_rank, args.opts) == (1, 0, ["MODEL.DEVICE", "cpu"])

    args.config_file = ""
    cfg = api.get_cfg()
    cfg.OUTPUT_DIR, cfg.SEED = str(tmp_path / "out"), 11
    draws = []
    for _ in range(2):
        api.default_setup(cfg, args)
        draws.append((torch.rand(2).tolist(), np.random.rand(2).tolist()))  # noqa: NPY002 (the seeded generator)
    assert draws[0] == draws[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.yaml", "log.txt"]
    written = api.get_cfg()
    written.merge_from_file(str(tmp_path / "out" / "config.yaml"), allow_unsafe=False)
    assert (written.OUTPUT_DIR, written.SEED) == (cfg.OUTPUT_DIR, 11)
    assert "torch" in (tmp_path / "out" / "log.txt").read_text().lower()


def test_setup_logger_writes_one_file_per_rank_and_each_line_once(tmp_path, restored_loggers, capsys):
    for rank in (0, 0, 1):
        logger = api.setup_logger(str(tmp_path), distributed_rank=rank, name="ovss")
    logger.warning("hello")
    for name in ("log.txt", "log.txt.rank1"):
        assert (tmp_path / name).read_text().count("hello") == 1
    assert capsys.readouterr().out.count("hello") == 1
