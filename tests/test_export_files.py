"""Written files, in onnxruntime and as torch.export programs: they answer as the models do, in batches of any size."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import ovss
from ovss import scenes
from ovss.export.check import LEAST_EQUAL, compare
from ovss.export.fixed import fix
from ovss.export.metadata import describe, read_metadata, to_text
from ovss.export.onnx import OPSET, save_onnx
from ovss.export.program import save_program, trace

# A class with a synonym as a row of its own, and two background words, which are one class.
WORDS = {"classes": ["red star, red ring", "blue square", "sand", "brick wall"], "background": ["grass", "water"]}
SMALL_FILTER = ["MODEL.CLIPTRASE.MEDIAN", "3"]  # few steps: the whole filter is in tests/test_export_full.py
EACH = ["MODEL.TEXT.SYNONYMS", "each"]
DETECTRON2 = ["MODEL.CLIPTRASE.UNIT_FEATURES", "False", "MODEL.CLIPTRASE.INPUT_SCALE", "0.5"]
MEAN = ["MODEL.CLIPTRASE.FUSION", "mean", *DETECTRON2]
# Model, settings, words or those of the scenes, size.
MODELS = {
    "cat_seg": ("quickstart/cat_seg", [], None, None),
    "cliptrase": ("quickstart/cliptrase", SMALL_FILTER + EACH, WORDS, (96, 128)),
    "cliptrase mean": ("quickstart/cliptrase", SMALL_FILTER + EACH + MEAN, WORDS, None),
    "maskclip": ("quickstart/maskclip", EACH, WORDS, (128, 96)),
    "clip": ("quickstart/clip", [], None, None),
}


# An export takes about half a minute: one is in the default run; baselines are in that of tests/test_export.py.
RUNS = [pytest.param(name, marks=[] if name == "cliptrase" else pytest.mark.slow) for name in MODELS]


@pytest.fixture(scope="module", params=RUNS)
def exported(request, tmp_path_factory):
    """A fixed model and the folder of its two files."""
    model, opts, words, size = MODELS[request.param]
    folder = tmp_path_factory.mktemp("exported")
    if words is not None:
        (folder / "classes.json").write_text(json.dumps(words))
    predictor = ovss.load(model, device="cpu", opts=opts, vocabulary=words and str(folder / "classes.json"))
    fixed = fix(predictor, size)
    program, metadata = trace(fixed.module), to_text(describe(fixed, model))
    save_program(program, folder / "model.pt2", metadata)
    save_onnx(program, folder / "model.onnx", metadata)
    return fixed, folder


def drawn(count, size):
    """Scenes (B,3,H,W), cut or filled up by a repeated border."""
    pictures = np.stack([scenes.draw_scene((scenes.HELD_OUT_STREAM, 5, index)).image for index in range(count)])
    height, width = size
    padded = np.pad(pictures, ((0, 0), (0, max(height - 128, 0)), (0, max(width - 128, 0)), (0, 0)), mode="edge")
    return torch.from_numpy(padded[:, :height, :width]).permute(0, 3, 1, 2).float() / 255


def check(fixed, images, found):
    """Scores and labels are those of the model, however it finds its labels."""
    expected = fixed.expected(images)
    labels, _ = fixed.segmentor.model.labels(images, fixed.text, fixed.classes, fixed.module.size)
    assert len(images) == 1 or len(labels.unique()) > 1
    agreement = compare(expected, found)
    assert agreement.equal >= LEAST_EQUAL
    assert agreement.difference <= 1e-4 * max(float(expected.abs().max()), 1)
    assert (found[1] == labels).double().mean() >= LEAST_EQUAL
    assert (found[0].dtype, found[1].dtype) == (torch.float32, torch.int64)


def test_the_onnx_model_answers_as_the_model(exported):
    fixed, folder = exported
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = drawn(count, fixed.module.size)
        scores, labels = session.run(None, {"images": images.numpy()})
        check(fixed, images, (torch.from_numpy(scores), torch.from_numpy(labels)))
    height, width = fixed.module.size
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(float)", [3, height, width])
    assert isinstance(given.shape[0], str)  # any number
    scores, labels = session.get_outputs()
    assert (scores.name, scores.type) == ("scores", "tensor(float)")
    assert scores.shape[1:] == [len(fixed.vocabulary.classes), height, width]
    assert (labels.name, labels.type, labels.shape[1:]) == ("labels", "tensor(int64)", [height, width])
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]


def test_the_program_answers_as_the_model(exported):
    fixed, folder = exported
    extra = {"ovss.json": ""}
    program = torch.export.load(folder / "model.pt2", extra_files=extra)
    assert json.loads(extra["ovss.json"]) == read_metadata(folder / "model.pt2")
    for count in (1, 3):
        images = drawn(count, fixed.module.size)
        check(fixed, images, program.module()(images))


def test_what_the_files_say_of_themselves(exported):
    fixed, folder = exported
    found = read_metadata(folder / "model.onnx")
    assert found == read_metadata(folder / "model.pt2")
    assert found["classes"] == list(fixed.vocabulary.classes)
    assert found["size"] == list(fixed.module.size)
    assert found["version"] == ovss.__version__
    assert found["model"] in ovss.list_models()
    assert found["input"]["range"] == [0, 1]


def test_nothing_of_this_machine_and_no_text_tower_is_inside(exported):
    """Neither the places of the source nor weights that only words need; and no words need be embedded again."""
    fixed, folder = exported
    source = ovss.__file__.removesuffix("/ovss/__init__.py").encode()
    tower = sum(value.nbytes for value in fixed.segmentor.model.clip.text.state_dict().values())
    whole = sum(value.nbytes for value in fixed.segmentor.state_dict().values())
    for name in ("model.onnx", "model.pt2"):
        content = (folder / name).read_bytes()
        assert source not in content
        assert len(content) < whole - tower + 1.5e6
