"""CAT-Seg behind Detectron2's face: configs, mixed batches, weights from MODEL.WEIGHTS."""

import copy
from pathlib import Path

import pytest
import torch
from cat_seg_parts import small_first_model, small_model
from safetensors.torch import load_file, save_file
from torchvision.models import resnet101

import cat_seg.d2
from cat_seg.backbone import ResNet101
from cat_seg.checkpoint import to_released
from cat_seg.config import check_sizes
from cat_seg.d2 import CATSeg
from ovss import hub
from ovss.clip.image import value_only, value_to_class
from ovss.clip.model import ASSETS, CLIP, architecture_config
from ovss.d2.api import META_ARCH_REGISTRY
from ovss.d2.segmentor import Segmentor
from ovss.sliding_window import SlidingWindow
from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs/cat_seg").glob("*.yaml"))
WORDS = Vocabulary.parse("cat, wall, sea")
# What fits the small CLIP of conftest.py, whose weights the released names can hold.
SMALL = ["RESOLUTION", "64", "WINDOW", "4", "GUIDANCE_LAYERS", "[1, 2]", "WIDTH", "64", "DECODER_WIDTHS", "[32, 16]"]


def settings(**more):
    pairs = dict(zip(SMALL[::2], SMALL[1::2], strict=True)) | more
    return [word for key, value in pairs.items() for word in (f"MODEL.CAT_SEG.{key}", value)]


def request(size, seed=0, words=WORDS, **more):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return {"image": image, "vocabulary": words, **more}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("DECODER_WIDTHS", "[16, 16, 16]", "two values, one for each stage"),
        ("DECODER_WIDTHS", "[16, 8]", "each a multiple of 16"),
        ("DECODER_GUIDANCE", "[32, 32]", "32 of the 32 channels of its stage"),
        ("GUIDANCE_LAYERS", "[1]", "two values, one for each stage"),
        ("HEADS", "5", "WIDTH 64 is no multiple of MODEL.CAT_SEG.HEADS 5"),
    ],
)
def test_sizes_that_make_no_model_are_named(key, value, message):
    cfg = hub.load(str(ROOT / "configs/cat_seg/vitb_384.yaml"), settings(**{key: value}))
    with pytest.raises(ValueError, match=rf"MODEL\.CAT_SEG\..*{message}"):
        check_sizes(cfg.MODEL.CAT_SEG)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_build_on_the_meta_device(path, monkeypatch):
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda name, weights: CLIP(architecture_config(name)))
    cfg = hub.load(str(path))
    with torch.device("meta"):
        segmentor = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    model = segmentor.model
    assert segmentor.sliding_window == SlidingWindow((640, 640), 384, 0.333)
    first_version = path.stem.endswith(("r101", "swinb"))
    assert segmentor.prompts == prompt_set("imagenet" if first_version else "single")
    assert segmentor.synonyms == ("average" if first_version else "first")
    assert (model.pooling, model.train_pooling) == (1, 2)
    assert model.aggregator.class_tokens == (0 if first_version else 256)
    assert model.last_block is (value_only if first_version else value_to_class)
    assert model.resolution // model.clip.visual.patch_size == 24
    depth = len(model.clip.visual.resblocks)
    thirds = () if first_version else (round(depth / 3) - 1, round(2 * depth / 3) - 1)
    assert model.guidance.layers == thirds
    own = [(name, value) for name, value in model.named_parameters() if not name.startswith("clip.")]
    head = sum(value.numel() for name, value in own if not name.startswith("guidance.backbone."))
    assert 2.5e6 < head < 10e6
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert any(name.startswith("guidance.backbone.") for name in trained) == path.stem.endswith("r101")


def test_options_of_tests_reach_the_model(monkeypatch):
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda name, weights: CLIP(architecture_config(name)))
    opts = {"TEST.KEPT_CLASSES": "64", "TEST.WINDOW_WHOLE": "False", "TEST.PRECISION": "bfloat16"}
    opts["MODEL.MEMORY_BUDGET"] = "3"

    def build(path, opts):
        cfg = hub.load(path, [word for pair in opts.items() for word in pair])
        with torch.device("meta"):
            return META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)

    path = str(CONFIGS[0].parent / "vitb_384.yaml")
    segmentor, plain = build(path, opts), build(path, {})
    assert segmentor.model.aggregator.kept_classes == 64
    assert plain.model.aggregator.kept_classes == 256
    assert build(path, {"TEST.KEPT_CLASSES": "0"}).model.aggregator.kept_classes == 0
    assert segmentor.model.aggregator.memory_budget == 3 * 2**20
    assert (segmentor.sliding_window.whole, plain.sliding_window.whole) == (False, True)
    assert (segmentor.precision, plain.precision) == ("bfloat16", "float32")
    with pytest.raises(ValueError, match=r"unknown TEST.PRECISION 'half'; known: float32, bfloat16, float16"):
        build(path, {"TEST.PRECISION": "half"})
    with pytest.raises(ValueError, match=r"TEST.KEPT_CLASSES 5: CLIPtrase looks at all classes"):
        build(str(CONFIGS[0].parents[1] / "cliptrase/vitb16_224.yaml"), {"TEST.KEPT_CLASSES": "5"})


@pytest.fixture(params=[None, SlidingWindow((48, 48), 32, 0.5)], ids=["whole", "windows"])
def segmentor(small_clip, request):
    parts = {"prompts": ["a {}."], "average_prompts": False, "synonyms": "first", "sliding_window": request.param}
    return Segmentor(model=small_model(small_clip, pad_to=8), **parts).eval()


def test_mixed_batch_equals_one_by_one(segmentor):
    requests = [
        request((40, 56), 1),
        request((33, 61), 2, height=20, width=31),
        request((40, 56), 3, Vocabulary.parse("sky, dog")),
        request((40, 56), 4),
    ]
    together = segmentor(requests)
    shapes = [tuple(answer["sem_seg"].shape) for answer in together]
    assert shapes == [(3, 40, 56), (3, 20, 31), (2, 40, 56), (3, 40, 56)]
    for alone, answer in zip(requests, together, strict=True):
        assert 0 <= answer["sem_seg"].min() < answer["sem_seg"].max() <= 1
        torch.testing.assert_close(segmentor([alone])[0]["sem_seg"], answer["sem_seg"], atol=1e-5, rtol=1e-4)


def test_state_holds_every_tensor_once(segmentor):
    names = [name for name, _ in segmentor.named_parameters(remove_duplicate=False)]
    assert len(names) == len(list(segmentor.parameters()))


def test_model_weights_hold_the_clip_too(small_clip, small_config, monkeypatch, tmp_path):
    """A released file is all that is needed: no CLIP is loaded beside it."""
    monkeypatch.setattr(cat_seg.d2, "architecture_config", lambda name: small_config)
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda *_: pytest.fail("the checkpoint holds the CLIP"))
    expected = small_model(small_clip)
    file = tmp_path / "model_base.pth"
    torch.save({"model": to_released(expected)}, file)
    opts = settings(GUIDANCE_CHANNELS="[24, 16]", GUIDANCE_WIDTH="32", DECODER_GUIDANCE="[16, 16]", CLASS_TOKENS="6")
    config, opts = str(ROOT / "configs/cat_seg/vitb_384.yaml"), [*opts, "MODEL.WEIGHTS", str(file)]
    cfg = hub.load(config, opts)
    model = CATSeg(cfg).model
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in expected.state_dict().items())
    wrong = hub.load(
        str(ROOT / "configs/cat_seg/vitb_384.yaml"), [*opts, "MODEL.CAT_SEG.LAYERS", "1", "MODEL.WEIGHTS", str(file)]
    )
    with pytest.raises(ValueError, match=r"model_base.pth are not those of this CAT-Seg: \d+ unknown"):
        CATSeg(wrong)


def test_clip_weights_from_a_file_or_its_folder(tmp_path):
    """MODEL.CLIP.WEIGHTS, beside no MODEL.WEIGHTS; the embedded CLIP's tensors, one of them changed."""
    state = load_file(ASSETS / "tiny_clip.safetensors")
    state["logit_scale"] = torch.full_like(state["logit_scale"], 2.5)
    file = tmp_path / "clip.safetensors"
    save_file(state, file)
    for place in (file, tmp_path):
        opts = [*settings(GUIDANCE_LAYERS="[0, 1]"), "MODEL.CLIP.NAME", "tiny", "MODEL.CLIP.WEIGHTS", str(place)]
        model = CATSeg(hub.load(str(ROOT / "configs/cat_seg/vitb_384.yaml"), opts)).model
        assert model.clip.logit_scale.item() == 2.5


@pytest.fixture
def first_version(small_clip, small_config, monkeypatch):
    """Config of a small first version with ResNet-101, from KEY VALUE options; CLIP is the small one."""
    monkeypatch.setattr(cat_seg.d2, "architecture_config", lambda name: small_config)
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda *_: copy.deepcopy(small_clip))
    opts = settings(BACKBONE_RESOLUTION="128", GUIDANCE_WIDTH="32", DECODER_GUIDANCE="[16, 16]")
    return lambda *more: hub.load(str(ROOT / "configs/cat_seg/vitb_r101.yaml"), [*opts, *more])


def test_first_version_from_a_released_file(first_version, small_clip, monkeypatch, tmp_path):
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda *_: pytest.fail("the checkpoint holds the CLIP"))
    expected = small_first_model(small_clip, backbone=ResNet101(), prompts=80)
    torch.save({"model": to_released(expected)}, tmp_path / "model_final_base.pth")
    segmentor = CATSeg(first_version("MODEL.WEIGHTS", str(tmp_path / "model_final_base.pth"))).eval()
    state = segmentor.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in expected.state_dict().items())
    answer = segmentor([request((33, 61))])[0]["sem_seg"]
    assert answer.shape == (3, 33, 61)


def test_first_version_starts_from_imagenet(first_version, tmp_path, caplog):
    network = resnet101(weights=None)
    torch.save(network.state_dict(), tmp_path / "resnet101.pth")
    model = CATSeg(first_version("MODEL.CAT_SEG.BACKBONE_WEIGHTS", str(tmp_path / "resnet101.pth"))).model
    assert torch.equal(model.guidance.backbone.conv1.weight, network.conv1.weight)
    assert "backbone is random" not in caplog.text
    CATSeg(first_version())
    assert "MODEL.CAT_SEG.BACKBONE_WEIGHTS is empty: the appearance backbone is random" in caplog.text


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "BACKBONE_RESOLUTION",
            "384",
            "BACKBONE_RESOLUTION 384 px: 128 px are needed, 16 for each of",
        ),
        ("LAST_BLOCK", "value", "unknown MODEL.CAT_SEG.LAST_BLOCK 'value'; known: value_to_class, value_only"),
        ("BACKBONE", "resnet50", "unknown appearance backbone 'resnet50'"),
    ],
)
def test_values_that_do_not_fit(first_version, key, value, message):
    with pytest.raises(ValueError, match=message):
        CATSeg(first_version(f"MODEL.CAT_SEG.{key}", value))


def test_fitting_by_a_stretch_leaves_no_border(first_version):
    assert CATSeg(first_version()).model.pad_to == 32
    assert CATSeg(first_version("INPUT.SIZE_FIT", "resize")).model.pad_to == 1
