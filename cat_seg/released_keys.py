"""The config keys of CAT-Seg's authors, both versions, and what they are here: tables alone, standard library alone."""

from typing import Any

Settings = dict[str, Any]  # dotted key -> value
HEAD, OURS = "MODEL.SEM_SEG_HEAD.", "MODEL.CAT_SEG."
_NORMALISATION = "MODEL.PIXEL_"  # of what the backbone sees
_BACKBONE, _RESNET, _SWIN = "MODEL.BACKBONE.", "MODEL.RESNETS.", "MODEL.SWIN."

# Beginnings of keys that only their code has. Those of the appearance backbone, and which of them that backbone reads;
# without one (second version) none is read.
BACKBONE_PREFIXES = (_NORMALISATION, _BACKBONE, _RESNET, _SWIN)
PREFIXES = (HEAD, "MODEL.MASK_FORMER.", "MODEL.CLIP_PIXEL_", *BACKBONE_PREFIXES)
READ_BY = {
    "": (),
    "resnet101": (_NORMALISATION, _BACKBONE, _RESNET),
    "swin_base": (_NORMALISATION, _BACKBONE, _SWIN),
}
BACKBONES = {"build_resnet_backbone": "resnet101", "D2SwinTransformer": "swin_base"}

# Their key -> ours, with the same value.
RENAMED = {
    f"{HEAD}IGNORE_VALUE": "LOSS.IGNORE_LABEL",
    f"{HEAD}TEXT_GUIDANCE_PROJ_DIM": f"{OURS}GUIDANCE_WIDTH",
    f"{HEAD}APPEARANCE_GUIDANCE_PROJ_DIM": f"{OURS}GUIDANCE_WIDTH",
    f"{HEAD}DECODER_DIMS": f"{OURS}DECODER_WIDTHS",
    f"{HEAD}DECODER_GUIDANCE_PROJ_DIMS": f"{OURS}DECODER_GUIDANCE",
    f"{HEAD}NUM_LAYERS": f"{OURS}LAYERS",
    f"{HEAD}NUM_HEADS": f"{OURS}HEADS",
    f"{HEAD}HIDDEN_DIMS": f"{OURS}WIDTH",
    f"{HEAD}WINDOW_SIZES": f"{OURS}WINDOW",
    f"{HEAD}PROMPT_DEPTH": f"{OURS}PROMPT_DEPTH",
    f"{HEAD}PROMPT_LENGTH": f"{OURS}PROMPT_LENGTH",
    "MODEL.PROMPT_ENSEMBLE_TYPE": "MODEL.TEXT.PROMPTS",
    "MODEL.MASK_FORMER.SIZE_DIVISIBILITY": f"{OURS}SIZE_DIVISIBILITY",
    f"{_SWIN}DROP_PATH_RATE": f"{OURS}BACKBONE_DROP_PATH",
}
# Their key -> why no value of it changes anything.
NO_EFFECT = {
    f"{HEAD}IN_FEATURES": "all levels of the backbone are used",
    f"{HEAD}NUM_CLASSES": "the words decide",
    f"{HEAD}TEXT_GUIDANCE_DIM": "follows from the CLIP",
    f"{HEAD}APPEARANCE_GUIDANCE_DIM": "follows from the CLIP or the backbone",
    f"{HEAD}TRAIN_CLASS_INDEXES": "never read",
    f"{HEAD}TEST_CLASS_INDEXES": "never read",
    "MODEL.PROMPT_ENSEMBLE": "never read",
    "DATASETS.VAL_ALL": "never read",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": "about instances, not label maps",
    f"{_SWIN}PRETRAIN_IMG_SIZE": "about absolute position embeddings",
    f"{_RESNET}STEM_TYPE": "never read",
}
# Their key -> the one value that the published models have and that the code here is written for.
FIXED: Settings = {
    f"{HEAD}NAME": "CATSegHead",
    f"{HEAD}FEATURE_RESOLUTION": [24, 24],
    f"{HEAD}ATTENTION_TYPE": "linear",
    "MODEL.CLIP_PIXEL_MEAN": [122.7709383, 116.7460125, 104.09373615],
    "MODEL.CLIP_PIXEL_STD": [68.5005327, 66.6321579, 70.3231630],
    "INPUT.DATASET_MAPPER_NAME": "mask_former_semantic",
    f"{_NORMALISATION}MEAN": [123.675, 116.280, 103.530],
    f"{_NORMALISATION}STD": [58.395, 57.120, 57.375],
    f"{_BACKBONE}FREEZE_AT": 0,
    f"{_RESNET}DEPTH": 101,
    f"{_RESNET}STEM_OUT_CHANNELS": 64,
    f"{_RESNET}STRIDE_IN_1X1": False,
    f"{_RESNET}OUT_FEATURES": ["res2", "res3", "res4"],
    f"{_SWIN}PATCH_SIZE": 4,
    f"{_SWIN}EMBED_DIM": 128,
    f"{_SWIN}DEPTHS": [2, 2, 18],
    f"{_SWIN}NUM_HEADS": [4, 8, 16],
    f"{_SWIN}WINDOW_SIZE": 12,
    f"{_SWIN}MLP_RATIO": 4.0,
    f"{_SWIN}QKV_BIAS": True,
    f"{_SWIN}QK_SCALE": None,
    f"{_SWIN}DROP_RATE": 0.0,
    f"{_SWIN}ATTN_DROP_RATE": 0.0,
    f"{_SWIN}APE": False,
    f"{_SWIN}PATCH_NORM": True,
    f"{_SWIN}OUT_FEATURES": ["res2", "res3", "res4"],
}
# CLIP_PRETRAINED -> name, resolution, layers that guide, resize of positions. Their second version builds no H and G.
CLIPS = {
    "ViT-B/16": ("ViT-B/16", 384, [3, 7], "bicubic"),
    "ViT-L/14": ("ViT-L/14", 336, [7, 15], "bicubic"),
    "ViT-L/14@336px": ("ViT-L/14@336", 336, [7, 15], "bicubic"),
    "ViT-H": ("ViT-H-14", 336, [10, 20], "antialias"),
    "ViT-G": ("ViT-bigG-14", 336, [15, 31], "antialias"),
}
# TRAIN_CLASS_JSON and TEST_CLASS_JSON of their data sets -> our class file of the same words.
CLASS_FILES = {
    "coco.json": "coco_stuff",
    "ade150.json": "ade20k_150",
    "ade847.json": "ade20k_847",
    "voc20.json": "voc_20",
    "voc20b.json": "voc_20b",
    "pc59.json": "pascal_context_59",
    "pc459.json": "pascal_context_459",
}
# What a file of theirs means where it is silent, as far as ours would mean something else.
DEFAULTS: Settings = {
    f"{HEAD}CLIP_PRETRAINED": "ViT-B/16",
    f"{HEAD}NUM_LAYERS": 4,
    f"{HEAD}POOLING_SIZES": [6, 6],
    "MODEL.PROMPT_ENSEMBLE_TYPE": "single",
    "TEST.SLIDING_WINDOW": False,
    "SOLVER.BACKBONE_MULTIPLIER": 0.1,
}
# What their code does without being told: in both versions, in the second, in the first.
CODE: Settings = {"FLOAT32_PRECISION": "high", "TEST.PROTOCOL": "CAT-Seg"}
SECOND: Settings = {"MODEL.TEXT.SYNONYMS": "first"}
FIRST: Settings = {"MODEL.TEXT.SYNONYMS": "average", f"{OURS}LAST_BLOCK": "value_only", f"{OURS}CLASS_TOKENS": 0}
