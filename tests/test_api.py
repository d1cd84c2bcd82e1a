"""The seam: which engine is chosen, and what the project relies on, on Detectron2 and on lite alike."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ovss.d2 import api


@pytest.fixture
def restored_loggers():
    """Undo what `setup_logger` does to the global loggers, and close the files."""
    loggers = [logging.getLogger(name) for name in ("fvcore", "ovss", "detectron2")]
    before = [(logger.level, logger.propagate, [*logger.handlers]) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler) and handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
        logger.level, logger.propagate = level, propagate


def fake_detectron2(folder, init, monkeypatch):
    """Put a package of that name first on the path, as an installation that does `init` when it is imported."""
    (folder / "detectron2").mkdir()
    (folder / "detectron2" / "__init__.py").write_text(init)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    monkeypatch.delenv("OVSS_ENGINE", raising=False)


def test_engine_is_one_of_two():
    assert api.ENGINE == "lite" or api.ENGINE.startswith("detectron2 ")
    assert ("detectron2" in type(api.get_cfg()).__module__) == (api.ENGINE != "lite")


def test_absent_detectron2_means_lite_unless_it_is_forced(monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2", None)  # Python's own way to make a module absent
    monkeypatch.delenv("OVSS_ENGINE", raising=False)
    assert api._choose_engine() == "lite"
    monkeypatch.setenv("OVSS_ENGINE", "detectron2")
    with pytest.raises(ImportError, match="not installed"):
        api._choose_engine()


def test_present_detectron2_is_taken_unless_lite_is_forced(tmp_path, monkeypatch):
    fake_detectron2(tmp_path, "__version__ = '9.8'", monkeypatch)
    assert api._choose_engine() == "detectron2 9.8"
    monkeypatch.setenv("OVSS_ENGINE", "lite")
    assert api._choose_engine() == "lite"


@pytest.mark.parametrize("init", ["import absent_module_of_detectron2", "import os; os.absent_name"])
def test_broken_detectron2_is_an_error_that_names_the_cause(init, tmp_path, monkeypatch):
    fake_detectron2(tmp_path, init, monkeypatch)
    with pytest.raises(ImportError, match=r"installed but cannot be imported.*absent_"):
        api._choose_engine()


def test_detectron2_broken_below_its_top_is_an_error_too(tmp_path):
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2" / "__init__.py").write_text("__version__ = '9.8'")
    environment = {name: value for name, value in os.environ.items() if name != "OVSS_ENGINE"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    run = subprocess.run([sys.executable, "-c", "import ovss.d2.api"], env=environment, capture_output=True, text=True)
    assert run.returncode != 0
    assert "Detectron2 is installed but cannot be imported" in run.stderr
    assert "No module named 'detectron2.checkpoint'" in run.stderr


def test_unknown_engine_is_refused(monkeypatch):
    monkeypatch.setenv("OVSS_ENGINE", "detectron3")
    with pytest.raises(ValueError, match=r"'detectron3'.*lite, detectron2"):
        api._choose_engine()


def test_every_listed_name_exists_and_one_line_names_the_engine(caplog):
    assert [name for name in api.__all__ if not hasattr(api, name)] == []
    with caplog.at_level(logging.INFO):
        api.log_engine(logging.getLogger("test"))
    assert len(caplog.messages) == 1
    assert api.ENGINE in caplog.messages[0]


def test_config_child_overrides_base_and_the_command_line_both(tmp_path):
    (tmp_path / "base.yaml").write_text("VERSION: 2\nSEED: 5\nINPUT: {MIN_SIZE_TEST: 640, FORMAT: RGB}\n")
    (tmp_path / "child.yaml").write_text("_BASE_: base.yaml\nVERSION: 2\nINPUT: {MIN_SIZE_TEST: 336}\n")
    cfg = api.get_cfg()
    cfg.merge_from_file(str(tmp_path / "child.yaml"), allow_unsafe=False)
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "DATASETS.TEST", "('a', 'b')"])
    assert (cfg.SEED, cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.FORMAT) == (5, 336, "RGB")
    assert (cfg.MODEL.DEVICE, cfg.DATASETS.TEST) == ("cpu", ("a", "b"))
    assert api.get_cfg().SEED == -1  # the defaults are untouched


def test_config_refuses_unknown_keys_wrong_types_and_changes_when_frozen(tmp_path):
    cfg = api.get_cfg()
    with pytest.raises((AssertionError, KeyError), match=r"Non-existent.*MODEL\.DEVICES"):
        cfg.merge_from_list(["MODEL.DEVICES", "cpu"])
    with pytest.raises(ValueError, match="SEED"):
        cfg.merge_from_list(["SEED", "soon"])
    (tmp_path / "bad.yaml").write_text("VERSION: 2\nMODEL: {DEVICES: cpu}\n")
    with pytest.raises(KeyError, match=r"MODEL\.DEVICES"):
        cfg.merge_from_file(str(tmp_path / "bad.yaml"), allow_unsafe=False)
    cfg.freeze()
    with pytest.raises(AttributeError):
        cfg.SEED = 3


class Line:
    """y = slope * x + offset; the slope comes from a config."""

    @api.configurable
    def __init__(self, *, slope, offset=0):
        self.slope, self.offset = slope, offset

    @classmethod
    def from_config(cls, cfg, offset=1):
        return {"slope": cfg.SEED, "offset": offset}


@api.configurable(from_config=lambda cfg: {"slope": cfg.SEED})
def line(slope, offset=0):
    return slope, offset


def test_configurable_takes_arguments_or_a_config():
    cfg = api.get_cfg()
    cfg.SEED = 3
    made = [Line(slope=2), Line(cfg), Line(cfg=cfg, offset=7), Line(cfg, slope=4)]
    assert [(one.slope, one.offset) for one in made] == [(2, 0), (3, 1), (3, 7), (4, 1)]
    assert [line(2), line(cfg), line(cfg, offset=9)] == [(2, 0), (3, 0), (3, 9)]


def test_catalogs(request):
    request.addfinalizer(lambda: api.DatasetCatalog.remove("test_catalogs"))
    request.addfinalizer(lambda: api.MetadataCatalog.remove("test_catalogs"))
    api.DatasetCatalog.register("test_catalogs", lambda: [{"file_name": "a.jpg"}])
    assert api.DatasetCatalog.get("test_catalogs") == [{"file_name": "a.jpg"}]
    assert "test_catalogs" in api.DatasetCatalog.list()
    with pytest.raises((AssertionError, ValueError), match="test_catalogs"):
        api.DatasetCatalog.register("test_catalogs", list)
    with pytest.raises(KeyError, match="not registered"):
        api.DatasetCatalog.get("test_catalog")

    metadata = api.MetadataCatalog.get("test_catalogs").set(stuff_classes=["cat"], ignore_label=255)
    assert api.MetadataCatalog.get("test_catalogs") is metadata
    assert (metadata.name, metadata.stuff_classes, metadata.get("colors", 7)) == ("test_catalogs", ["cat"], 7)
    metadata.stuff_classes = ["cat"]  # the same again is allowed
    with pytest.raises((AssertionError, ValueError), match="stuff_classes"):
        metadata.stuff_classes = ["dog"]
    with pytest.raises(AttributeError, match="colors"):
        _ = metadata.colors


def test_load_sem_seg_pairs_by_stem_in_order(tmp_path):
    for name in ("images/b.jpg", "images/a.jpg", "images/unlabelled.jpg", "labels/a.png", "labels/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    records = api.load_sem_seg(str(tmp_path / "labels"), str(tmp_path / "images"))
    pairs = [(os.path.basename(one["file_name"]), os.path.basename(one["sem_seg_file_name"])) for one in records]
    assert pairs == [("a.jpg", "a.png"), ("b.jpg", "b.png")]
    assert all(os.path.isfile(path) for record in records for path in record.values())


def double(record):
    record["value"] *= 2  # a mapper may change its record
    return record


def test_loader_gives_lists_in_order_and_keeps_the_records(request):
    records = [{"value": value} for value in range(5)]
    request.addfinalizer(lambda: api.DatasetCatalog.remove("test_loader"))
    api.DatasetCatalog.register("test_loader", lambda: records)
    cfg = api.get_cfg()
    cfg.DATALOADER.NUM_WORKERS = 0
    for loader in (
        api.build_detection_test_loader(records, mapper=double, batch_size=2),
        api.build_detection_test_loader(records, mapper=double, batch_size=2, num_workers=1),
        api.build_detection_test_loader(cfg, "test_loader", mapper=double, batch_size=2),
    ):
        assert len(loader) == 3
        assert [[one["value"] for one in batch] for batch in loader] == [[0, 2], [4, 6], [8]]
    assert [record["value"] for record in records] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("size", "short", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 1066.67
        ((640, 480), 800, 1333, (1067, 800)),
        ((100, 400), 800, 1333, (333, 1333)),  # 800 x 3200 would pass 1333: 333.25
        ((333, 500), 640, 2560, (640, 961)),  # 960.96
        ((2, 5), 5, 99, (5, 13)),  # 12.5 rounds up
        ((7, 7), 0, 99, (7, 7)),  # 0 keeps the size
    ],
)
def test_resize_shortest_edge_size(size, short, longest, expected):
    resized = api.T.AugInput(np.zeros((*size, 3), np.uint8))
    api.T.AugmentationList([api.T.ResizeShortestEdge(short, longest)])(resized)
    assert resized.image.shape == (*expected, 3)


def test_resize_is_pillow_bilinear_for_images_and_nearest_for_labels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (31, 47, 3), dtype=np.uint8)
    labels = rng.choice(np.asarray([0, 7, 255], np.uint8), (31, 47))
    resized = api.T.AugInput(image, sem_seg=labels)
    transform = api.T.ResizeShortestEdge(20)(resized)
    np.testing.assert_array_equal(resized.image, Image.fromarray(image).resize((30, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resized.sem_seg, Image.fromarray(labels).resize((30, 20), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(transform.apply_image(image), resized.image)
    assert transform.inverse().apply_image(resized.image).shape == image.shape
    wide = api.T.ResizeTransform(1, 2, 1, 4)  # floats: half-pixel centres, 0 + {0, 1/4, 3/4, 1} * 8
    np.testing.assert_allclose(wide.apply_image(np.asarray([[0.0, 8.0]])), [[0, 2, 6, 8]])


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
    with pytest.raises((AssertionError, ValueError), match="'?a'?"):
        api.inference_on_dataset(model, loader, [Count("a"), Count("a")])


def test_print_csv_format_leaves_out_the_classes(caplog):
    with caplog.at_level(logging.INFO):
        api.print_csv_format({"sem_seg": {"mIoU": 12.34567, "IoU-cat": 1.0, "pACC": 50.0}})
    assert caplog.messages == ["copypaste: Task: sem_seg", "copypaste: mIoU,pACC", "copypaste: 12.3457,50.0000"]


def test_checkpointer_loads_what_it_saved_and_bare_state_dicts(tmp_path):
    source, target = nn.Linear(2, 1), nn.Linear(2, 1)
    api.DetectionCheckpointer(source, str(tmp_path)).save("whole", iteration=5)
    assert api.DetectionCheckpointer(target).load(str(tmp_path / "whole.pth")) == {"iteration": 5}
    torch.testing.assert_close(target.weight, source.weight)
    torch.save(nn.Linear(2, 1).state_dict(), tmp_path / "bare.pth")
    api.DetectionCheckpointer(target).load(str(tmp_path / "bare.pth"))
    assert not torch.equal(target.weight, source.weight)
    assert api.DetectionCheckpointer(target).load("") == {}


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


