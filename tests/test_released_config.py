"""Configs and options under the names of CAT-Seg's published code: what they become, what is said, what is refused."""

import argparse
from pathlib import Path

import pytest
import torch
import yaml
from test_package import differing

import cat_seg.d2
from cat_seg.released_config import translate
from ovss import hub
from ovss.clip.model import CLIP, architecture_config
from ovss.d2 import config
from ovss.d2.run import set_up

ROOT = Path(__file__).parent.parent
HEAD = {
    "NAME": "CATSegHead", "IN_FEATURES": ["res2", "res3", "res4"], "IGNORE_VALUE": 255, "NUM_CLASSES": 171,
    "TRAIN_CLASS_JSON": "datasets/coco.json", "TEST_CLASS_JSON": "datasets/coco.json", "PROMPT_DEPTH": 0,
    "PROMPT_LENGTH": 0, "TEXT_GUIDANCE_PROJ_DIM": 128, "APPEARANCE_GUIDANCE_PROJ_DIM": 128, "DECODER_DIMS": [64, 32],
    "DECODER_GUIDANCE_DIMS": [256, 128], "DECODER_GUIDANCE_PROJ_DIMS": [32, 16], "NUM_LAYERS": 2, "NUM_HEADS": 4,
    "HIDDEN_DIMS": 128, "POOLING_SIZES": [2, 2], "FEATURE_RESOLUTION": [24, 24], "WINDOW_SIZES": 12,
    "ATTENTION_TYPE": "linear", "CLIP_FINETUNE": "attention",
}  # fmt: skip
MODEL = {
    "META_ARCHITECTURE": "CATSeg",
    "PIXEL_MEAN": [123.675, 116.280, 103.530],
    "PIXEL_STD": [58.395, 57.120, 57.375],
}
SOLVER = {
    "IMS_PER_BATCH": 4, "BASE_LR": 0.0002, "MAX_ITER": 80000, "WARMUP_ITERS": 0, "WEIGHT_DECAY": 0.0001,
    "OPTIMIZER": "ADAMW", "LR_SCHEDULER_NAME": "WarmupCosineLR", "CLIP_MULTIPLIER": 0.01,
    "CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "full_model", "CLIP_VALUE": 0.01, "NORM_TYPE": 2.0},
}  # fmt: skip
INPUT = {
    "MIN_SIZE_TRAIN": "(384, )", "MIN_SIZE_TRAIN_SAMPLING": "choice", "MIN_SIZE_TEST": 640, "MAX_SIZE_TEST": 2560,
    "CROP": {"ENABLED": True, "TYPE": "absolute", "SIZE": "(384, 384)", "SINGLE_CATEGORY_MAX_AREA": 1.0},
    "COLOR_AUG_SSD": True, "SIZE_DIVISIBILITY": 384, "FORMAT": "RGB", "DATASET_MAPPER_NAME": "mask_former_semantic",
}  # fmt: skip
BASE = {
    "DATASETS": {"TRAIN": '("coco_2017_train_stuff_all_sem_seg",)', "TEST": '("coco_2017_test_stuff_all_sem_seg",)'},
    "SOLVER": SOLVER,
    "INPUT": INPUT,
    "TEST": {"EVAL_PERIOD": 5000, "SLIDING_WINDOW": False},
    "DATALOADER": {"FILTER_EMPTY_ANNOTATIONS": True, "NUM_WORKERS": 8},
    "VERSION": 2,
    "CUDNN_BENCHMARK": True,
}
RESNET = {
    "BACKBONE": {"FREEZE_AT": 0, "NAME": "build_resnet_backbone"},
    "WEIGHTS": "R-101.pkl",
    "RESNETS": {"DEPTH": 101, "STEM_TYPE": "basic", "STEM_OUT_CHANNELS": 64, "STRIDE_IN_1X1": False,
                "OUT_FEATURES": ["res2", "res3", "res4"]},
    "SWIN": {"EMBED_DIM": 192, "DEPTHS": [2, 2, 18, 2]},
}  # fmt: skip
SWIN = {
    "BACKBONE": {"FREEZE_AT": 0, "NAME": "D2SwinTransformer"},
    "WEIGHTS": "swin_base_patch4_window12_384_22k.pkl",
    "SWIN": {"EMBED_DIM": 128, "DEPTHS": [2, 2, 18], "NUM_HEADS": [4, 8, 16], "WINDOW_SIZE": 12, "APE": False,
             "DROP_PATH_RATE": 0.3, "PATCH_NORM": True, "PRETRAIN_IMG_SIZE": 384,
             "OUT_FEATURES": ["res2", "res3", "res4"]},
}  # fmt: skip
# Name of our config -> what theirs for the same model has beside the rest: of MODEL, of its head, learning rate of the
# backbone, prompts.
PUBLISHED = {
    "vitb_384": ({}, {"CLIP_PRETRAINED": "ViT-B/16", "TEXT_GUIDANCE_DIM": 512}, 0.0, "single"),
    "vitl_336": ({}, {"CLIP_PRETRAINED": "ViT-L/14@336px", "TEXT_GUIDANCE_DIM": 768}, 0.0, "single"),
    "vitb_r101": (RESNET, {"CLIP_PRETRAINED": "ViT-B/16", "APPEARANCE_GUIDANCE_DIM": 1024}, 0.01, "imagenet"),
    "vitl_swinb": (SWIN, {"CLIP_PRETRAINED": "ViT-L/14@336px"}, 0.0, "imagenet"),
}
# What their test script gives on the command line.
EVAL = [
    *("MODEL.SEM_SEG_HEAD.TEST_CLASS_JSON", "datasets/ade150.json", "DATASETS.TEST", '("ade20k_150_test_sem_seg",)'),
    *(
        "TEST.SLIDING_WINDOW",
        "True",
        "MODEL.SEM_SEG_HEAD.POOLING_SIZES",
        "[1,1]",
        "MODEL.WEIGHTS",
        "out/model_final.pth",
    ),
]
# Where our configs are not theirs: names of files, test data, and what changes no result (warm-up, watched pictures).
OWN = {
    *("CONFIG_NAME", "DATASETS.TEST", "DATALOADER.NUM_WORKERS", "MODEL.WEIGHTS", "OUTPUT_DIR"),
    *("SOLVER.WARMUP_FACTOR", "VIS_PERIOD"),
}


@pytest.fixture
def write(tmp_path):
    """Write one of the published configs, with changes to its head, as a child of its base; return its path."""

    def write(name, **head):
        model, own_head, multiplier, prompts = PUBLISHED[name]
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(BASE))
        own = {**MODEL, **model, "PROMPT_ENSEMBLE_TYPE": prompts, "SEM_SEG_HEAD": {**HEAD, **own_head, **head}}
        child = {"_BASE_": "config.yaml", "MODEL": own, "SOLVER": {"BACKBONE_MULTIPLIER": multiplier}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(child))
        return str(tmp_path / f"{name}.yaml")

    config._say.cache_clear()
    config.take_notes()
    return write


def ours(name, *opts):
    return hub.load(str(ROOT / f"configs/cat_seg/{name}.yaml"), opts)


def without_unused(names, name):
    """Blocks that guide are not read by models with a backbone."""
    return names - ({"MODEL.CAT_SEG.GUIDANCE_LAYERS"} if "swinb" in name else set())


@pytest.mark.parametrize("name", PUBLISHED)
def test_their_test_protocol_is_our_config(write, name):
    found = without_unused(differing(hub.load(write(name), EVAL), ours(name)), name)
    assert found - OWN == {"MODEL.CAT_SEG.POOLING_TRAIN"}, "their one key of two for training and test"


@pytest.mark.parametrize("name", PUBLISHED)
def test_their_training_is_our_config(write, name):
    theirs = hub.load(write(name), ["SOLVER.IMS_PER_BATCH", "4"])
    found = without_unused(differing(theirs, ours(name)), name)
    assert found - OWN == {"MODEL.CAT_SEG.POOLING_TEST", "TEST.SLIDING_WINDOW"}, "their test without its script"


def test_it_builds(write, monkeypatch):
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda name, weights: CLIP(architecture_config(name)))
    cfg = hub.load(write("vitb_384"))
    with torch.device("meta"):
        assert cat_seg.d2.CATSeg(cfg).model.pooling == 2


@pytest.mark.parametrize(
    ("clip", "expected"),
    [("ViT-H", ("ViT-H-14", 336, "antialias")), ("ViT-G", ("ViT-bigG-14", 336, "antialias"))],
)
def test_their_options_for_larger_clips(write, clip, expected):
    options = ["MODEL.SEM_SEG_HEAD.CLIP_PRETRAINED", clip, "MODEL.SEM_SEG_HEAD.TEXT_GUIDANCE_DIM", "1024"]
    cfg = hub.load(write("vitl_swinb"), options)
    assert expected == (cfg.MODEL.CLIP.NAME, cfg.MODEL.CAT_SEG.RESOLUTION, cfg.MODEL.CAT_SEG.POSITIONS)
    assert cfg.MODEL.CAT_SEG.CLIP_FINETUNE == "image_attention"


def test_their_options_on_our_config():
    cfg = ours(
        "vitb_r101", "MODEL.SEM_SEG_HEAD.POOLING_SIZES", "[3, 3]", "MODEL.SEM_SEG_HEAD.CLIP_FINETUNE", "attention"
    )
    assert (cfg.MODEL.CAT_SEG.POOLING_TRAIN, cfg.MODEL.CAT_SEG.POOLING_TEST) == (3, 3)
    assert cfg.MODEL.CAT_SEG.CLIP_FINETUNE == "image_attention", "the file's version counts"
    assert cfg.TEST.SLIDING_WINDOW, "their defaults are for their files"


def test_it_is_said_once(write, caplog):
    path = write("vitb_384")
    for _ in range(2):
        hub.load(path, EVAL)
    (file, line) = [record.getMessage() for record in caplog.records if "published code" in record.getMessage()]
    arrow = "MODEL.SEM_SEG_HEAD.POOLING_SIZES -> MODEL.CAT_SEG.POOLING_TRAIN, MODEL.CAT_SEG.POOLING_TEST"
    assert arrow in file
    assert arrow in line
    assert "MODEL.PIXEL_MEAN, MODEL.PIXEL_STD: no effect, the second version has no backbone" in file
    assert "MODEL.SEM_SEG_HEAD.TEST_CLASS_JSON: no effect, the words come with the data set" in line


def test_it_is_in_the_log_that_opens_afterwards(write, tmp_path, restored_loggers):
    out = tmp_path / "out"
    cfg = hub.load(write("vitb_384"), ["OUTPUT_DIR", str(out)])
    for _ in range(2):
        set_up(cfg, argparse.Namespace(config_file="", eval_only=True))
    assert (out / "log.txt").read_text().count("MODEL.PIXEL_MEAN, MODEL.PIXEL_STD: no effect") == 1


def test_settings_of_ours_pass_in_silence():
    settings = {"MODEL.CAT_SEG.WINDOW": 6, "TEST.SLIDING_WINDOW": "True", "MODEL.WEIGHTS": "R-101.pkl"}
    assert translate(settings) == (settings, "")


def test_their_own_class_file_is_for_pictures_without_words(write):
    assert hub.load(write("vitb_384", TEST_CLASS_JSON="my/birds.json"), EVAL[2:]).MODEL.VOCABULARY == "my/birds.json"


WORDS_OF_ANOTHER_SET = {
    "voc_2012_test_sem_seg": ["DATASETS.TEST", "('voc_2012_test_sem_seg', 'ade20k_150_val')"],
    "scenes_val": ["DATASETS.TEST", "('scenes_val',)"],
    "coco_2017_test_stuff_all_sem_seg": [],
}


@pytest.mark.parametrize("name", WORDS_OF_ANOTHER_SET)
def test_words_of_another_set_are_refused(write, name):
    message = f"command line: .*TEST_CLASS_JSON 'datasets/ade150.json' has other words than '{name}' of DATASETS.TEST"
    with pytest.raises(ValueError, match=message):
        hub.load(write("vitb_384"), [*EVAL[:2], *WORDS_OF_ANOTHER_SET[name]])


def test_words_of_a_file_do_not_bind_the_command_line(write):
    cfg = hub.load(write("vitb_384"), ["DATASETS.TEST", "('voc_20b_val',)"])
    assert cfg.DATASETS.TEST == ("voc_20b_val",)
    with pytest.raises(ValueError, match=r"config file .*TRAIN_CLASS_JSON 'datasets/pc59.json' has other words"):
        hub.load(write("vitb_384", TRAIN_CLASS_JSON="datasets/pc59.json"))


REFUSED = {
    "POOLING_SIZES": ([1, 2], "only two equal factors such as"),
    "CLIP_PRETRAINED": ("RN50", "'RN50' cannot be honoured; known: ViT-B/16, ViT-L/14,"),
    "ATTENTION_TYPE": ("full", "ATTENTION_TYPE 'full' cannot be honoured, only 'linear'"),
    "NAME": ("OpenVocabHead", "NAME 'OpenVocabHead' cannot be honoured, only 'CATSegHead'"),
    "TEXT_GUIDANCE_PROJ_DIM": (64, "APPEARANCE_GUIDANCE_PROJ_DIM 128 and .*TEXT_GUIDANCE_PROJ_DIM 64: both"),
    "TRAIN_CLASS_JSON": ("my/birds.json", "the words come with the data set of DATASETS.TRAIN"),
    "CONVS_DIM": (256, "unknown key MODEL.SEM_SEG_HEAD.CONVS_DIM: no setting of CAT-Seg's published models"),
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_cannot_be_honoured(write, key):
    value, message = REFUSED[key]
    with pytest.raises(ValueError, match=rf"config file .*vitb_384.yaml: .*{message}"):
        hub.load(write("vitb_384", **{key: value}), EVAL)


def test_unknown_keys_fail_where_their_kind_has_no_effect(write):
    with pytest.raises(ValueError, match=r"unknown key MODEL.SWIN.EMBED_DIMS: no setting"):
        hub.load(write("vitb_384"), ["MODEL.SWIN.EMBED_DIMS", "96"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ["MODEL.BACKBONE.NAME", "build_vit"],
            "'build_vit' cannot be honoured; known: build_resnet",
        ),
        (["MODEL.SWIN.EMBED_DIM", "96"], "MODEL.SWIN.EMBED_DIM 96 cannot be honoured, only 128"),
        (["MODEL.SEM_SEG_HEAD.CLIP_FINETUNE", "full"], "trains the image tower alone"),
        (["MODEL.PIXEL_STD", "[1.0, 1.0, 1.0]"], "MODEL.PIXEL_STD .* cannot be honoured"),
    ],
)
def test_what_the_first_version_cannot(write, option, message):
    with pytest.raises(ValueError, match=f"command line: .*{message}"):
        hub.load(write("vitl_swinb"), option)
