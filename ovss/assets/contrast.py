"""The contrast that the tiny CLIP learns from: pictures against sentences, several of them true. Imports `ovss.clip`.

Shapes: B pictures, M sentences, S side in pixels, D embedding width, L tokens, W tower width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from ovss.assets.reading import Sentences
from ovss.clip.model import CLIP
from ovss.clip.transformer import ResidualBlock
from ovss.scenes import SIDE


def read_late(block: ResidualBlock, x: Tensor) -> tuple[Tensor, None]:
    """Block rule: the class token attends to itself alone, as if it came in later (CaiT, Touvron et al. 2021)."""
    query, key, value = block.query_key_value(x)
    seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
    seen[0, 1:] = False
    return block.output(x, F.scaled_dot_product_attention(query, key, value, attn_mask=seen)), None


def encode_at_a_place(clip: CLIP, images: Tensor, late: bool) -> Tensor:
    """Embed images (B,3,S,S) of any S up to SIDE as if they were a window, at a random place, of a full picture.

    Small scenes so learn the positions of large ones. `late`: the class token reads in the last block alone, so that
    the patches themselves must know what they are part of; else this small tower keeps it in the class token only.
    """
    tower = clip.visual
    table = tower.positional_embedding
    full, side = SIDE // tower.patch_size, images.shape[-1] // tower.patch_size
    top, left = torch.randint(full - side + 1, (2,)).tolist()
    window = table[1:].unflatten(0, (full, full))[top : top + side, left : left + side].flatten(0, 1)
    positions = {"positional_embedding": torch.cat([table[:1], window])}
    rules = {-1 - i: read_late for i in range(1, len(tower.resblocks))} if late else {}
    return functional_call(tower, positions, (images,), {"rules": rules}).class_token


def info_nce(pictures: Tensor, sentences: Tensor, true_of: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of unit embeddings (B,D) and (M,D); all that `true_of` (B,M) joins are equally wanted.

    With one sentence for each picture this is CLIP's loss; with several, UniCL's (Yang et al., CVPR 2022, section 3.2).
    """
    logits = scale * pictures @ sentences.T
    wanted = true_of.float()
    by_picture, by_sentence = wanted / wanted.sum(1, keepdim=True), wanted / wanted.sum(0)
    return (F.cross_entropy(logits, by_picture) + F.cross_entropy(logits.T, by_sentence.T)) / 2


def reading_loss(clip: CLIP, images: Tensor, kinds: list[Sentences], late: bool) -> Tensor:
    """Sum of `info_nce` over the kinds of sentences about B pictures."""
    pictures = F.normalize(encode_at_a_place(clip, images, late).float(), dim=-1)
    texts = [text for kind in kinds for text in kind.texts]
    embedded = F.normalize(clip.encode_text(texts).float(), dim=-1).split([len(kind.texts) for kind in kinds])
    scale = clip.logit_scale.exp().clamp(max=100)
    losses = [
        info_nce(pictures, sentences, kind.true_of.to(pictures.device), scale)
        for kind, sentences in zip(kinds, embedded, strict=True)
    ]
    return torch.stack(losses).sum()
