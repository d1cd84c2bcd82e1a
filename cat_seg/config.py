"""CAT-Seg's config keys, and which sizes fit each other. What reads the keys is `cat_seg.d2`."""

from cat_seg.decoder import CHANNELS_PER_GROUP
from ovss.d2.api import CfgNode


def add_cat_seg_config(cfg: CfgNode) -> None:
    """Add MODEL.CAT_SEG.*; the defaults are the second version's with ViT-B/16."""
    cfg.MODEL.CAT_SEG = node = CfgNode()
    # Every view is squashed to this square before CLIP, in pixels; a multiple of CLIP's patch.
    node.RESOLUTION = 384
    # Without the sliding window pictures are padded to multiples of this before the squash; 1: no border in the answer.
    node.SIZE_DIVISIBILITY = 32
    # How CLIP's position embeddings are resized: bicubic (in every pass), or antialias (OpenCLIP's own way, for ViT-H
    # and bigG: once, so that the resized table is what trains and is saved).
    node.POSITIONS = "bicubic"
    # What runs for CLIP's last image block: value_to_class (second version) or value_only (first); ovss/clip/image.py.
    node.LAST_BLOCK = "value_to_class"
    # What guides: "" for CLIP's image tower itself (second version), resnet101 or swin_base (first version).
    node.BACKBONE = ""
    # Of CLIP: the two blocks whose outputs guide the decoder (0-based), and the channels they come to.
    node.GUIDANCE_LAYERS = [3, 7]
    node.GUIDANCE_CHANNELS = [256, 128]
    # Of the backbone: ImageNet weights to start training from, a local file of torchvision (resnet101) or timm
    # (swin_base); the square in pixels to which its copy of a view is squashed; the rate of stochastic depth in Swin's
    # last block in training, which the published code runs in a frozen Swin too (0: guidance without noise).
    node.BACKBONE_WEIGHTS = ""
    node.BACKBONE_RESOLUTION = 384
    node.BACKBONE_DROP_PATH = 0.3
    # Aggregator: hidden width, layers, attention heads, side of the windows in patches.
    node.WIDTH = 128
    node.LAYERS = 2
    node.HEADS = 4
    node.WINDOW = 12
    # Channels of the projected text and appearance guidance.
    node.GUIDANCE_WIDTH = 128
    # Class aggregation sees this many classes: fewer are padded, more are cut to those most similar to the view
    # (TEST.KEPT_CLASSES). 0: all classes as they are (first version).
    node.CLASS_TOKENS = 256
    # Class aggregation runs on a grid coarser by this factor: in training, and at test.
    node.POOLING_TRAIN = 2
    node.POOLING_TEST = 1
    # Learned tokens in each of the first PROMPT_DEPTH blocks of CLIP's image tower; 0: none.
    node.PROMPT_LENGTH = 0
    node.PROMPT_DEPTH = 0
    # Decoder: channels after each of the two stages, and of the guidance in each.
    node.DECODER_WIDTHS = [64, 32]
    node.DECODER_GUIDANCE = [32, 16]
    # What of CLIP trains: none, attention (query and value weights of both towers), image_attention (all attention of
    # the image tower and its position embedding, first version), full (all blocks of both towers, and prompts), prompt
    # (the learned tokens alone).
    node.CLIP_FINETUNE = "attention"
    # Parts that recompute activations in training instead of keeping them, for memory: clip, backbone (first version),
    # aggregator, decoder.
    cfg.MODEL.CHECKPOINTING = ()
    # Run the aggregator's layers and the decoder through torch.compile: a minute or more before the first step or
    # picture, less for each. Needs a compiler: a C++ one on a CPU, Triton on a GPU.
    cfg.MODEL.COMPILE = False
    # Whether pixels without a label train as "none of the classes" (published) or not at all.
    cfg.LOSS.IGNORED_AS_NEGATIVE = True


def check_sizes(node: CfgNode) -> None:
    """Raise ValueError, naming the key of MODEL.CAT_SEG, for widths and lists that make no model."""
    lists = ["DECODER_WIDTHS", "DECODER_GUIDANCE"]
    lists += [] if node.BACKBONE else ["GUIDANCE_LAYERS", "GUIDANCE_CHANNELS"]
    for key in lists:
        if len(node[key]) != 2:
            raise ValueError(f"MODEL.CAT_SEG.{key} {node[key]}: two values, one for each stage of the decoder")
    if node.WIDTH % node.HEADS:
        raise ValueError(f"MODEL.CAT_SEG.WIDTH {node.WIDTH} is no multiple of MODEL.CAT_SEG.HEADS {node.HEADS}")
    for width in node.DECODER_WIDTHS:
        if width < 1 or width % CHANNELS_PER_GROUP:
            raise ValueError(
                f"MODEL.CAT_SEG.DECODER_WIDTHS {node.DECODER_WIDTHS}: each a multiple of {CHANNELS_PER_GROUP}"
            )
    for before, guidance in zip((node.WIDTH, *node.DECODER_WIDTHS), node.DECODER_GUIDANCE, strict=False):
        if not 0 < guidance < before:
            raise ValueError(
                f"MODEL.CAT_SEG.DECODER_GUIDANCE {node.DECODER_GUIDANCE}: {guidance} of the {before} channels of its "
                "stage, at least 1 and fewer than all"
            )
