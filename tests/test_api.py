"""The seam: which engine is chosen; config, configurable and catalogs, on Detectron2 and on lite alike."""

import logging
import os
import subprocess
import sys

import pytest

from ovss.d2 import api


def fake_detectron2(folder, init, monkeypatch):
    """Put a package of that name first on the path, as an installation that does `init` when it is imported."""
    (folder / "detectron2").mkdir()
    (folder / "detectron2" / "__init__.py").write_text(init)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, "detectron2", None)  # so that the fake one is forgotten afterwards
    del sys.modules["detectron2"]
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
    assert "No module named 'detectron2." in run.stderr


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
