"""`ovss.load`: names, weights, words, precision; one call for every system. With the embedded models."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ovss
from ovss.clip.model import ASSETS
from ovss.scenes import draw_scene
from ovss.weights import store

ROOT = Path(__file__).parent.parent
WORDS = "red circle, blue square, brick wall, sand, grass"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return draw_scene(3).image


def test_list_models_are_the_configs_that_build_one():
    names = ovss.list_models()
    assert {"cat_seg/vitb_384", "cliptrase/vitb16_336", "cliptrase/maskclip", "quickstart/cat_seg"} <= set(names)
    assert not [name for name in names if name.startswith(("protocols/", "cross/"))]
    assert all((ROOT / f"configs/{name}.yaml").is_file() for name in names)


def test_the_public_names_are_there_and_no_others():
    assert set(ovss.__all__) == {"Predictor", "Segmentation", "Vocabulary", "list_models", "load"}
    assert all(getattr(ovss, name) is not None for name in ovss.__all__)
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        ovss.paint  # noqa: B018


@pytest.mark.parametrize(
    "name", ["quickstart/cat_seg", "quickstart/cliptrase", "quickstart/maskclip", "quickstart/clip"]
)
def test_the_same_call_for_every_system(name, picture):
    model = ovss.load(name, device="cpu")
    found = model.segment(picture, WORDS)
    assert found.labels.shape == found.scores.shape == (128, 128)
    assert found.classes == tuple(WORDS.split(", "))
    assert sum(found.areas().values()) == pytest.approx(1)
    np.testing.assert_array_equal(model.logits(picture, WORDS).argmax(0), found.labels)
    kept = model.segment(picture, WORDS, probabilities=True)
    np.testing.assert_array_equal(kept.labels, found.labels)
    assert 0 <= kept.probabilities.min() <= kept.probabilities.max() <= 1
    if name != "quickstart/cat_seg":
        np.testing.assert_allclose(kept.probabilities.sum(0), 1, atol=1e-5)


def test_lists_of_different_sizes_equal_single_pictures(picture):
    model = ovss.load("quickstart/cat_seg", device="cpu", vocabulary=WORDS)
    pictures = [picture, picture[:96], draw_scene(4).image, picture[:, 10:].copy()]
    together = model.segment(pictures, batch_size=4)
    for one, answer in zip(pictures, together, strict=True):
        np.testing.assert_array_equal(model.segment(one).labels, answer.labels)
        assert answer.labels.shape == one.shape[:2]


def test_threads_get_their_own_answers(picture):
    model = ovss.load("quickstart/cliptrase", device="cpu")
    words = [WORDS, "sand, red circle", "brick wall, grass, blue square"]
    expected = [model.segment(picture, each).labels for each in words]
    found: dict[int, np.ndarray] = {}

    def work(index):
        found[index] = model.segment(picture, words[index % 3]).labels

    threads = [threading.Thread(target=work, args=(index,)) for index in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 9
    assert all(np.array_equal(labels, expected[index % 3]) for index, labels in found.items())


def test_names_configs_and_packaged_models_are_the_same(picture):
    by_name = ovss.load("quickstart/cliptrase", device="cpu").segment(picture, WORDS)
    by_file = ovss.load(ROOT / "configs/quickstart/cliptrase.yaml", device="cpu").segment(picture, WORDS)
    np.testing.assert_array_equal(by_name.labels, by_file.labels)
    packaged = ovss.load(ASSETS / "tiny_cat_seg.safetensors", device="cpu").segment(picture, WORDS)
    np.testing.assert_array_equal(packaged.labels, ovss.load("quickstart/cat_seg", device="cpu")(picture, WORDS).labels)


def test_a_run_is_known_by_model_options_weights_and_words(tmp_path):
    def key(*arguments, **options):
        return ovss.load(*arguments, device="cpu", **{"vocabulary": WORDS, **options}).run_key()

    same = key("quickstart/cliptrase")
    shutil.copy(ASSETS / "tiny_clip.safetensors", tmp_path / "same.safetensors")
    assert key("quickstart/cliptrase", tmp_path / "same.safetensors") == same, "it is the values that count"
    tensors = load_file(ASSETS / "tiny_clip.safetensors")
    changed = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    with safe_open(ASSETS / "tiny_clip.safetensors", "pt") as file:
        save_file(tensors | {changed: tensors[changed] + 1}, tmp_path / "other.safetensors", file.metadata())
    others = [
        key("quickstart/maskclip"),
        key("quickstart/cliptrase", opts=["TEST.AUG.ENABLED", "True"]),
        key("quickstart/cliptrase", tmp_path / "other.safetensors"),
        key("quickstart/cliptrase", vocabulary="sand, grass"),
        key("quickstart/cliptrase", vocabulary=ovss.Vocabulary.from_words(["sand"], background=["grass"])),
    ]
    assert len({same, *others}) == 6


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_precision_is_an_argument(dtype):
    assert ovss.load("quickstart/cat_seg", device="cpu", dtype=dtype).segmentor.precision == "bfloat16"
    assert ovss.load("quickstart/cat_seg", device="cpu").segmentor.precision == "float32"


def test_weights_go_where_the_system_takes_them(picture):
    """CLIP's to a training-free model; a checkpoint to a CAT-Seg."""
    clip = ASSETS / "tiny_clip.safetensors"
    given = ovss.load("quickstart/cliptrase", clip, device="cpu").segment(picture, WORDS)
    np.testing.assert_array_equal(given.labels, ovss.load("quickstart/cliptrase", device="cpu")(picture, WORDS).labels)
    trained = ovss.load("quickstart/cat_seg", ASSETS / "tiny_cat_seg.safetensors", device="cpu")
    np.testing.assert_array_equal(
        trained.segment(picture, WORDS).labels, ovss.load("quickstart/cat_seg", device="cpu")(picture, WORDS).labels
    )


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["cat_seg/vitb"], {}, "no model is called 'cat_seg/vitb', did you mean 'cat_seg/vitb_"),
        (["absent.yaml"], {}, "absent.yaml"),
        (["quickstart/cliptrase", "absent.pt"], {}, "absent.pt"),
        ([str(ASSETS / "tiny_cat_seg.safetensors"), "a.pth"], {}, "holds its own"),
        (["quickstart/cliptrase"], {"dtype": "int8"}, "int8"),
        (["quickstart/cliptrase"], {"device": "tpu"}, "MODEL.DEVICE 'tpu' is unknown"),
        (["quickstart/cliptrase"], {"device": "cuda:99"}, "cuda:99"),
        (["quickstart/cliptrase"], {"vocabulary": "cat,,wall"}, "an empty word"),
        (["quickstart/cliptrase"], {"opts": ["MODEL.NOTHING", "1"]}, "MODEL.NOTHING"),
        (["cat_seg/vith_336"], {}, "no weights were published for it"),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        ovss.load(*arguments, **options)


def test_published_weights_are_the_default_of_a_name(monkeypatch, tmp_path):
    asked = []

    def published_path(name):
        asked.append(name)
        raise ConnectionError("offline")

    monkeypatch.setattr("ovss.models.published_path", published_path)
    with pytest.raises(ConnectionError, match="offline"):
        ovss.load("cat_seg/vitb_384")
    with pytest.raises(ValueError, match="absent"):  # what opts say goes first
        ovss.load("cat_seg/vitb_384", opts=["MODEL.WEIGHTS", str(tmp_path / "absent.pth")])
    assert asked == ["cat_seg/vitb_384"]


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OVSS_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"model_base\.pth"):
        ovss.load("cat_seg/vitb_384")
    assert store.offline()


def test_import_is_light():
    code = "import sys, ovss; ovss.list_models(); print({'torch', 'numpy', 'PIL', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
