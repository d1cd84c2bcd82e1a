"""Configs: every shipped file loads; mistakes name the place, the key and the nearest right one."""

from pathlib import Path

import pytest

from ovss import hub
from ovss.d2.config import load_config

ROOT = Path(__file__).parent.parent
CONFIGS = [path for path in sorted((ROOT / "configs").glob("*/*.yaml")) if path.parent.name != "protocols"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_configs_load(path):
    cfg = hub.load(str(path))
    assert cfg.is_frozen()
    assert cfg.INPUT.FORMAT == "RGB"


def test_children_hold_their_base():
    cfg = hub.load(str(ROOT / "configs/cliptrase/vitb16_336.yaml"), ["MODEL.CLIP.WEIGHTS", "/some/file"])
    assert (cfg.MODEL.CLIPTRASE.EPS, cfg.MODEL.CLIPTRASE.MIN_POINTS, cfg.INPUT.MIN_SIZE_TEST) == (1.1, 7, 336)
    assert cfg.INPUT.CENTER_CROP_TEST
    assert cfg.MODEL.CLIP.WEIGHTS == "/some/file"


BAD_OPTIONS = [
    (["DATASETS.TEST", "('scenes_vall',)"], "which is no data set with words; did you mean 'scenes_val'"),
    (["INPUT.FORMAT", "BGR"], "every model here reads 'RGB'"),
    (["MODEL.META_ARCHITECTURE", "CLIPtrace"], "MODEL.META_ARCHITECTURE 'CLIPtrace' is unknown"),
    (["MODEL.CLIP.WEIGTHS", "x"], "command line: unknown key MODEL.CLIP.WEIGTHS; did you mean MODEL.CLIP.WEIGHTS"),
    (["MODEL.CLIPTRACE.EPS", "1"], "unknown key MODEL.CLIPTRACE.EPS; did you mean MODEL.CLIPTRASE.EPS"),
    (["NONSENSE", "1"], "unknown key NONSENSE; did you mean"),
    (["MODEL.CLIPTRASE.MIN_POINTS", "three"], "command line: Type mismatch .*MIN_POINTS"),
    (["MODEL.DEVICE", "cpu", "--num-gpus", "2"], "--num-gpus stands after the settings KEY VALUE: options come before"),
    (["MODEL.DEVICE", "cpu", "--resume"], "--resume stands after the settings"),
    (["MODEL.CLIP.NAME"], "pairs of KEY VALUE, got 1 words: MODEL.CLIP.NAME"),
    (["DATASETS.TEST", "('folder',)"], "DATASETS.FOLDER.IMAGES is empty: give it a path"),
]


@pytest.mark.parametrize(("opts", "message"), BAD_OPTIONS)
def test_bad_options(opts, message):
    with pytest.raises(ValueError, match=message):
        hub.load(str(ROOT / "configs/cliptrase/vitb16_224.yaml"), opts)


BAD_FILES = {
    "unknown key": ("MODEL:\n  CLIPP:\n    NAME: x\n", "unknown key MODEL.CLIPP; did you mean MODEL.CLIP"),
    "wrong type": ("INPUT:\n  MIN_SIZE_TEST: small\n", "Type mismatch"),
    "code": ("OUTPUT_DIR: !!python/object/apply:os.system ['touch owned']\n", "not plain YAML"),
    "number as key": ("5: 6\n", "expected names of settings and their values"),
    "no yaml": ("MODEL: [\n", "not plain YAML"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, message = BAD_FILES[case]
    path = tmp_path / "config.yaml"
    path.write_text(text + "VERSION: 2\n")
    with pytest.raises(ValueError, match=message) as error:
        load_config(str(path))
    assert str(path) in str(error.value)
    assert not (tmp_path / "owned").exists()


def test_missing_file():
    with pytest.raises(ValueError, match=r"config file nowhere.yaml: no such file; the project's own are in configs/"):
        load_config("nowhere.yaml")
