"""Protocols: what each config is scored under, in words, and models under another system's protocol."""

from pathlib import Path

import pytest
import yaml

from ovss import hub
from ovss.d2.api import build_model
from ovss.d2.protocol import describe

CONFIGS = Path(__file__).parent.parent / "configs"
PROTOCOLS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONFIGS / "protocols").glob("*.yaml"))}


def load(name, *opts):
    return hub.load(str(CONFIGS / f"{name}.yaml"), [*opts])


def flat(node, prefix=""):
    for key, value in node.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]


def of_protocol(cfg, protocol):
    """The config's values of the keys of a protocol."""
    return {key: cfg[key.split(".")[0]][key.split(".")[1]] for key, _ in flat(PROTOCOLS[protocol])}


@pytest.mark.parametrize(
    ("config", "protocol", "own"),
    [
        ("cat_seg/vitb_384", "cat_seg", {}),
        ("cat_seg/vitl_336", "cat_seg", {}),
        ("cat_seg/vitg_swinb", "cat_seg", {}),
        ("cliptrase/vitb16_224", "cliptrase", {}),
        ("cliptrase/vitb16_336", "cliptrase", {"INPUT.MIN_SIZE_TEST": 336}),
        ("cliptrase/vitb16_d2", "cliptrase_d2", {}),
        ("cross/cat_seg_vitb_384_cliptrase", "cliptrase", {}),
        ("cross/cliptrase_vitb16_cat_seg", "cat_seg", {"TEST.SLIDING_WINDOW": False}),
    ],
)
def test_configs_have_their_protocols_values(config, protocol, own):
    assert of_protocol(load(config), protocol) == dict(flat(PROTOCOLS[protocol])) | own


def test_a_protocol_leaves_the_model_alone():
    """Under another protocol the model's own settings, and what trains it, are as they were."""
    model, crossed = load("cat_seg/vitb_384"), load("cross/cat_seg_vitb_384_cliptrase")
    assert (crossed.MODEL, crossed.SOLVER) == (model.MODEL, model.SOLVER)
    assert all(set(content) <= {"TEST", "INPUT"} for content in PROTOCOLS.values())


def test_protocols_set_the_same_keys():
    """So that the later of two decides all; windows and their sizes matter where there are windows."""
    windows = {"TEST.WINDOW_CANVAS", "TEST.WINDOW_SIZE", "TEST.WINDOW_OVERLAP"}
    keys = [{key for key, _ in flat(content)} - windows for content in PROTOCOLS.values()]
    assert len(keys) == 3
    assert keys[0] == keys[1] == keys[2]


def test_cat_seg_in_words():
    assert describe(load("cat_seg/vitb_384")) == {
        "protocol": "CAT-Seg",
        "resolution": "short side 640 px (bilinear), long side at most 2560; squashed to 640 x 640, windows of 384 px "
        "with overlap 0.333 and a view of the whole; scored at the picture's own size",
        "prompts": "1 (single), synonyms: first",
        "background": "background words count as one class; pixels without a label are not scored",
        "computing": "float32",
        "mIoU": "mIoU_gt is over classes in the ground truth, mIoU_union over those in the ground truth or an answer",
    }


def test_cliptrase_in_words():
    assert describe(load("cliptrase/vitb16_336")) == {
        "protocol": "CLIPtrase (paper)",
        "resolution": "short side 336 px (bicubic); centre crop, scored on the crop; fitted to the patch grid by "
        "resize",
        "prompts": "80 (imagenet), synonyms: joined",
        "background": "background words count as one class; where there are any, pixels without a label count as it "
        "too; pictures of background alone are left out",
        "computing": "float32",
        "mIoU": "mIoU_gt is over classes in the ground truth, mIoU_union over those in the ground truth or an answer; "
        "0.01 added to denominators",
    }


def test_words_follow_the_values():
    opts = ["INPUT.MIN_SIZE_TEST", "512", "TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(256, 512)"]
    told = describe(load("cliptrase/vitb16_d2", *opts, "TEST.PROTOCOL", ""))
    assert told["protocol"] == "none named (TEST.PROTOCOL)"
    assert told["resolution"] == (
        "short side 512 px (bilinear), long side at most 2560; then short sides 256, 512 px and mirrored, averaged; "
        "fitted to the patch grid by pad; scored at the picture's own size"
    )


def test_cliptrase_has_no_windows():
    cfg = load("cliptrase/vitb16_d2", "TEST.SLIDING_WINDOW", "True", "MODEL.DEVICE", "cpu", "MODEL.CLIP.NAME", "tiny")
    with pytest.raises(ValueError, match=r"TEST.SLIDING_WINDOW True: CLIPtrase's regions .* set False"):
        build_model(cfg)


def test_approximations_in_words():
    """What is not as published is said with every result."""
    opts = ["TEST.WINDOW_WHOLE", "False", "TEST.KEPT_CLASSES", "64", "TEST.PRECISION", "bfloat16"]
    words = describe(load("cat_seg/vitb_384", *opts))
    assert "windows of 384 px with overlap 0.333 alone" in words["resolution"]
    assert words["computing"] == "bfloat16; a view keeps 64 classes"
    assert describe(load("cat_seg/vitb_384", "TEST.KEPT_CLASSES", "0"))["computing"].endswith("keeps all classes")
