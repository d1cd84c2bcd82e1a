"""CAT-Seg in Detectron2: its entry in META_ARCH_REGISTRY. The only module here that reads cfg; keys: `config.py`."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cat_seg.aggregation import Aggregator
from cat_seg.backbone import STRIDE, build_backbone, load_backbone
from cat_seg.checkpoint import load_checkpoint
from cat_seg.config import check_sizes
from cat_seg.decoder import Decoder
from cat_seg.guidance import BackboneGuidance, CLIPGuidance
from cat_seg.model import CATSeg as CATSegModel
from cat_seg.stochastic_depth import draw
from cat_seg.training import idle, pixel_loss, require_compiler, set_checkpointed, set_trainable
from ovss.clip.embeddings import Phrases, embed_phrases, tokenize_rows
from ovss.clip.image import value_only, value_to_class
from ovss.clip.model import CLIP, architecture_config
from ovss.clip.positions import resize_positions
from ovss.clip.weights import load_clip
from ovss.d2.api import META_ARCH_REGISTRY, CfgNode, configurable
from ovss.d2.segmentor import Segmentor
from ovss.inference import merge_rows
from ovss.sliding_window import SlidingWindow
from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)
LAST_BLOCKS = {rule.__name__: rule for rule in (value_to_class, value_only)}


def build_cat_seg(cfg: CfgNode, clip: CLIP, prompts: int) -> CATSegModel:
    """The plain model of a config around a CLIP, for that many prompts per class; all but the CLIP is random.

    Raises:
        ValueError: a value that does not exist, or sizes that do not fit each other.
    """
    node = cfg.MODEL.CAT_SEG
    check_sizes(node)
    embed_dim = clip.visual.proj.shape[1]
    if node.LAST_BLOCK not in LAST_BLOCKS:
        raise ValueError(f"unknown MODEL.CAT_SEG.LAST_BLOCK {node.LAST_BLOCK!r}; known: {', '.join(LAST_BLOCKS)}")
    if node.POSITIONS == "antialias":
        grid = (node.RESOLUTION // clip.visual.patch_size,) * 2
        resized = resize_positions(clip.visual.positional_embedding.detach(), grid, "antialias")
        clip.visual.positional_embedding = nn.Parameter(resized)
    if node.PROMPT_LENGTH:
        clip.visual.add_prompts(node.PROMPT_DEPTH, node.PROMPT_LENGTH)
    guidance, channels = build_guidance(cfg, clip)
    decoder = Decoder(
        width=node.WIDTH,
        widths=node.DECODER_WIDTHS,
        guidance_channels=channels[1:],
        guidance_widths=node.DECODER_GUIDANCE,
    )
    aggregator = Aggregator(
        prompts=prompts,
        text_width=embed_dim,
        appearance_width=channels[0],
        width=node.WIDTH,
        guidance_width=node.GUIDANCE_WIDTH,
        layers=node.LAYERS,
        heads=node.HEADS,
        window=node.WINDOW,
        class_tokens=node.CLASS_TOKENS,
        decoder=decoder,
        kept_classes=None if cfg.TEST.KEPT_CLASSES < 0 else cfg.TEST.KEPT_CLASSES,
    )
    return CATSegModel(
        clip=clip,
        guidance=guidance,
        aggregator=aggregator,
        resolution=node.RESOLUTION,
        pad_to=node.SIZE_DIVISIBILITY if cfg.INPUT.SIZE_FIT == "pad" else 1,
        pooling=node.POOLING_TEST,
        train_pooling=node.POOLING_TRAIN,
        last_block=LAST_BLOCKS[node.LAST_BLOCK],
        positions=node.POSITIONS,
    )


def build_guidance(cfg: CfgNode, clip: CLIP) -> tuple[CLIPGuidance | BackboneGuidance, Sequence[int]]:
    """What guides, and the channels of its three maps, the coarsest first."""
    node = cfg.MODEL.CAT_SEG
    if not node.BACKBONE:
        width, embed_dim = clip.visual.proj.shape
        guidance = CLIPGuidance(width=width, layers=node.GUIDANCE_LAYERS, channels=node.GUIDANCE_CHANNELS)
        return guidance, [embed_dim, *node.GUIDANCE_CHANNELS]
    backbone = build_backbone(node.BACKBONE, node.BACKBONE_RESOLUTION, node.BACKBONE_DROP_PATH)
    side = node.RESOLUTION // clip.visual.patch_size
    needed = STRIDE * side
    if needed != node.BACKBONE_RESOLUTION:
        raise ValueError(
            f"MODEL.CAT_SEG.BACKBONE_RESOLUTION {node.BACKBONE_RESOLUTION} px: {needed} px are needed, "
            f"{STRIDE} for each of CLIP's {side} patches on a side"
        )
    return BackboneGuidance(backbone=backbone, resolution=node.BACKBONE_RESOLUTION), backbone.channels


def load_imagenet(model: CATSegModel, weights: str) -> None:
    """Give the appearance backbone, where there is one, the weights that its training starts from."""
    if isinstance(model.guidance, BackboneGuidance) and weights:
        load_backbone(model.guidance.backbone, weights)
    elif isinstance(model.guidance, BackboneGuidance):
        logger.warning("MODEL.CAT_SEG.BACKBONE_WEIGHTS is empty: the appearance backbone is random")


def sliding_window(cfg: CfgNode) -> SlidingWindow:
    """The windows that a config describes, whether or not TEST.SLIDING_WINDOW asks for them."""
    test = cfg.TEST
    return SlidingWindow(tuple(test.WINDOW_CANVAS), test.WINDOW_SIZE, test.WINDOW_OVERLAP, test.WINDOW_WHOLE)


@META_ARCH_REGISTRY.register()
class CATSeg(Segmentor):
    """Built from cfg.MODEL.CLIP and cfg.MODEL.CAT_SEG; MODEL.WEIGHTS, where given, holds all of it, CLIP included."""

    model: CATSegModel

    @configurable
    def __init__(self, *, ignore_label: int, ignored_as_negative: bool, compiled: bool = False, **parts: Any):
        super().__init__(**parts)
        self._words: tuple[Vocabulary, list[Phrases], Tensor] | None = None
        if compiled:
            self.model.compile_aggregator()
        self.ignore_label = ignore_label
        self.ignored_as_negative = ignored_as_negative

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        name, weights = cfg.MODEL.CLIP.NAME, cfg.MODEL.WEIGHTS
        clip = CLIP(architecture_config(name)) if weights else load_clip(name, cfg.MODEL.CLIP.WEIGHTS)
        prompts = prompt_set(cfg.MODEL.TEXT.PROMPTS)
        model = build_cat_seg(cfg, clip, len(prompts))
        if weights:
            load_checkpoint(model, weights)
        else:
            logger.warning(
                "MODEL.WEIGHTS is empty: CAT-Seg's aggregator is random, its answers mean nothing before training"
            )
            load_imagenet(model, cfg.MODEL.CAT_SEG.BACKBONE_WEIGHTS)
        set_trainable(model, cfg.MODEL.CAT_SEG.CLIP_FINETUNE, backbone=cfg.SOLVER.BACKBONE_MULTIPLIER > 0)
        set_checkpointed(model, cfg.MODEL.CHECKPOINTING)
        model.aggregator.memory_budget = cfg.MODEL.MEMORY_BUDGET * 2**20
        return {
            "model": model,
            "prompts": prompts,
            "average_prompts": False,
            "synonyms": cfg.MODEL.TEXT.SYNONYMS,
            "vocabulary": Vocabulary.parse(cfg.MODEL.VOCABULARY) if cfg.MODEL.VOCABULARY else None,
            "size_fit": cfg.INPUT.SIZE_FIT,
            "sliding_window": sliding_window(cfg) if cfg.TEST.SLIDING_WINDOW else None,
            "precision": cfg.TEST.PRECISION,
            "ignore_label": cfg.LOSS.IGNORE_LABEL,
            "ignored_as_negative": cfg.LOSS.IGNORED_AS_NEGATIVE,
            "compiled": cfg.MODEL.COMPILE,
        }

    def train(self, mode: bool = True) -> "CATSeg":
        """See `Segmentor.train`. Raises ValueError where the model is to be compiled and there is no compiler."""
        if self.model.compiled:
            require_compiler(self.device.type)
        super().train(mode)
        return self

    def losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Loss of crops of one size with `sem_seg` labels (H,W) and one vocabulary.

        The words are encoded anew where the text tower trains, once where it is frozen. Where every crop brings a
        "draw_seed", what stochastic depth drops follows from these alone.

        Raises:
            ValueError: crops of a batch with different words.
        """
        vocabularies = {self.words_of(batched_input) for batched_input in batched_inputs}
        if len(vocabularies) > 1:
            raise ValueError(f"a batch of crops with {len(vocabularies)} vocabularies: training needs one")
        vocabulary = vocabularies.pop()
        phrases, classes = self.phrases(vocabulary)
        trains = self.text_trains
        text = embed_phrases(self.model.clip, phrases, self.average_prompts) if trains else self.text(vocabulary)[0]
        # Moved one by one, since a stack of pinned tensors would not be pinned, and a copy of it would be waited for.
        images, labels = (
            torch.stack([batched_input[key].to(self.device, non_blocking=True) for batched_input in batched_inputs])
            for key in ("image", "sem_seg")
        )
        draw(self.model, [batched_input.get("draw_seed") for batched_input in batched_inputs])
        logits = merge_rows(self.model.logits(images / 255, text), classes)
        loss = pixel_loss(logits, labels.long(), self.ignore_label, self.ignored_as_negative)
        return {"loss_sem_seg": loss + idle(self.model).to(loss)}

    def phrases(self, vocabulary: Vocabulary) -> tuple[list[Phrases], Tensor]:
        """A vocabulary's rows, tokenised, and their classes (T,), both on the CPU; those of the last one are kept."""
        if self._words is None or self._words[0] != vocabulary:
            rows, classes = vocabulary.phrases(self.synonyms)
            phrases = list(tokenize_rows(self.model.clip.tokenizer, rows, self.prompts))
            self._words = vocabulary, phrases, torch.tensor(classes)
        return self._words[1:]

    def loss_weight(self, batched_inputs: list[dict[str, Any]]) -> float:
        """The pixels that the loss of these crops is a mean over; without a label they count where they are negatives.

        The labels are counted where they lie, so on the CPU, lest a GPU be waited for.
        """
        labels = [batched_input["sem_seg"] for batched_input in batched_inputs]
        if self.ignored_as_negative:
            return float(sum(values.numel() for values in labels))
        return float(sum(int((values != self.ignore_label).sum()) for values in labels))
