"""Names of tensors in CAT-Seg's released files, of both versions, and in this project. Standard library only.

The released names are those of the authors' Detectron2 models. CLIP lies under `sem_seg_head.predictor.clip_model`: in
the first version with OpenAI's names, query, key and value fused; in the second with their biases alone fused.
"""

import re
from collections.abc import Iterable

CLIP = "sem_seg_head.predictor.clip_model."
AGGREGATOR = "sem_seg_head.predictor.transformer."
# Our name -> the released one; the first pattern that matches is replaced, the rest of the name stays.
_NAMES = (
    (r"clip\.visual\.resblocks\.", f"{CLIP}visual.transformer.resblocks."),
    (r"clip\.visual\.prompt_tokens$", f"{CLIP}visual.transformer.prompt_tokens"),
    (r"clip\.text\.resblocks\.", f"{CLIP}transformer.resblocks."),
    (r"clip\.(?:text\.)?", CLIP),
    (r"guidance\.upsample\.0\.", "upsample1."),
    (r"guidance\.upsample\.1\.", "upsample2."),
    (r"guidance\.backbone\.(conv1|bn1)\.", r"backbone.stem.\1."),
    (r"guidance\.backbone\.layer1\.", "backbone.res2."),
    (r"guidance\.backbone\.layer2\.", "backbone.res3."),
    (r"guidance\.backbone\.layer3\.", "backbone.res4."),
    (r"guidance\.backbone\.layers\.1\.downsample\.", "backbone.layers.0.downsample."),
    (r"guidance\.backbone\.layers\.2\.downsample\.", "backbone.layers.1.downsample."),
    (r"guidance\.backbone\.norms\.(\d)\.", r"backbone.norm\1."),
    (r"guidance\.backbone\.", "backbone."),
    (r"aggregator\.embedding\.conv\.", f"{AGGREGATOR}conv1."),
    (r"aggregator\.appearance\.", f"{AGGREGATOR}guidance_projection."),
    (r"aggregator\.text\.", f"{AGGREGATOR}text_guidance_projection."),
    (r"aggregator\.decoder\.stages\.(\d)\.guidance\.", rf"{AGGREGATOR}decoder_guidance_projection.\1."),
    (r"aggregator\.decoder\.stages\.0\.", f"{AGGREGATOR}decoder1."),
    (r"aggregator\.decoder\.stages\.1\.", f"{AGGREGATOR}decoder2."),
    (r"aggregator\.decoder\.", AGGREGATOR),
    (r"aggregator\.layers\.(\d+)\.spatial\.blocks\.0\.", rf"{AGGREGATOR}layers.\1.swin_block.block_1."),
    (r"aggregator\.layers\.(\d+)\.spatial\.blocks\.1\.", rf"{AGGREGATOR}layers.\1.swin_block.block_2."),
    (r"aggregator\.layers\.(\d+)\.spatial\.", rf"{AGGREGATOR}layers.\1.swin_block."),
    (r"aggregator\.layers\.(\d+)\.classes\.([qkv])\.", rf"{AGGREGATOR}layers.\1.attention.attention.\2."),
    (r"aggregator\.layers\.(\d+)\.classes\.mlp\.", rf"{AGGREGATOR}layers.\1.attention.MLP."),
    (r"aggregator\.layers\.(\d+)\.classes\.", rf"{AGGREGATOR}layers.\1.attention."),
)
# The same for the end of a name, where the beginning is the released one.
_ENDINGS = (
    (r"(clip_model\..*\.attn)\.[qkv]_proj\.bias$", r"\1.in_proj_bias"),
    (r"(swin_block\..*\.mlp)\.0\.", r"\1.fc1."),
    (r"(swin_block\..*\.mlp)\.2\.", r"\1.fc2."),
    (r"(decoder\d)\.conv1\.", r"\1.conv.double_conv.0."),
    (r"(decoder\d)\.norm1\.", r"\1.conv.double_conv.1."),
    (r"(decoder\d)\.conv2\.", r"\1.conv.double_conv.3."),
    (r"(decoder\d)\.norm2\.", r"\1.conv.double_conv.4."),
    (r"(backbone\..*)\.downsample\.0\.", r"\1.shortcut."),
    (r"(backbone\..*)\.downsample\.1\.", r"\1.shortcut.norm."),
    (r"(backbone\..*)\.bn(\d)\.", r"\1.conv\2.norm."),
)
_FIRST_VERSION_ENDINGS = ((r"(clip_model\..*\.attn)\.[qkv]_proj\.weight$", r"\1.in_proj_weight"), *_ENDINGS)
_SECOND_VERSION_ENDINGS = ((r"(clip_model\..*\.attn\.[qkv]_proj)\.weight$", r"\1_weight"), *_ENDINGS)
# What begins names of one kind of model only, released ones and ours; the kind, and the config to take for it.
_KINDS = (
    (("backbone.stem.", "guidance.backbone.conv1."), "first version with ResNet-101", "vitb_r101.yaml"),
    (
        ("backbone.patch_embed.", "guidance.backbone.patch_embed."),
        "first version with Swin-B",
        "vitl_swinb.yaml, vith_swinb.yaml or vitg_swinb.yaml",
    ),
    (("upsample1.", "guidance.upsample."), "second version", "vitb_384.yaml or vitl_336.yaml"),
)


def released_name(key: str, first_version: bool = False) -> str:
    """The released name of one of our tensors; query, key and value of a CLIP block share one where they are fused."""
    for table in (_NAMES, _FIRST_VERSION_ENDINGS if first_version else _SECOND_VERSION_ENDINGS):
        for pattern, replacement in table:
            renamed, count = re.subn(pattern, replacement, key, count=1)
            if count:
                key = renamed
                break
    return key


def is_fused(name: str) -> bool:
    """Whether a released tensor holds those of query, key and value, in this order."""
    return name.endswith((".in_proj_weight", ".in_proj_bias"))


def kind_of(names: Iterable[str]) -> tuple[str, str]:
    """Which CAT-Seg has tensors of these names, released or ours, and its configs; two empty strings for none."""
    names = list(names)
    for beginnings, kind, configs in _KINDS:
        if any(name.startswith(beginnings) for name in names):
            return kind, configs
    return "", ""
