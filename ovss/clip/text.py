"""CLIP's text tower: tokens to one embedding per sentence. Plain torch.

Shapes: M sentences, L tokens of the longest, U different prefixes, W width, D embedding width.
The tower is causal and the embedding is read at the end-of-text token: tokens behind it have no effect, sentences that
begin alike share what is computed there, and of the last block the end-of-text tokens alone are asked. All exact.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovss.checkpointing import recomputed
from ovss.clip.prefixes import PrefixTree, prefix_tree
from ovss.clip.transformer import LayerNorm, ResidualBlock, build_blocks


class TextTower(nn.Module):
    """A causal transformer with the parameters of CLIP's; `checkpointed` as in the image tower."""

    def __init__(
        self,
        *,
        context_length: int,
        vocab_size: int,
        width: int,
        layers: int,
        heads: int,
        embed_dim: int,
        quick_gelu: bool = True,
    ):
        super().__init__()
        self.checkpointed = False
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.randn(context_length, width) * 0.01)
        self.resblocks = build_blocks(layers=layers, width=width, heads=heads, mlp_ratio=4.0, quick_gelu=quick_gelu)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode token ids (M,L'), L' up to the context length, end-of-text the largest id: (M,D), not normalised.

        The ids are read where they lie and moved to the tower's device; on the CPU, a GPU need not be waited for.
        Sentences next to each other that begin alike cost least.
        """
        tree = prefix_tree(tokens).to(self.positional_embedding.device)
        x = self.token_embedding(tree.tokens) + self.positional_embedding[tree.positions]
        for block in self.resblocks[:-1]:
            x = recomputed(self.checkpointed, every_prefix, block, x, tree)
        x = recomputed(self.checkpointed, whole_sentences, self.resblocks[-1], x, tree)
        return self.ln_final(x) @ self.text_projection


def along(paths: Tensor, x: Tensor) -> Tensor:
    """Values of prefixes (U,W), sentence by sentence: (M,L,W)."""
    return F.embedding(paths, x)


def every_prefix(block: ResidualBlock, x: Tensor, tree: PrefixTree) -> Tensor:
    """The block, each prefix (U,W) attending to itself and the shorter ones of its sentence."""
    attn, y = block.attn, block.ln_1(x)
    query, key, value = (
        attn.split(along(tree.paths, project(y))) for project in (attn.q_proj, attn.k_proj, attn.v_proj)
    )
    attended = attn.merge(F.scaled_dot_product_attention(query, key, value, is_causal=True))
    return block.feed_forward(x + attn.out_proj(attended.flatten(0, 1)[tree.places]))


def whole_sentences(block: ResidualBlock, x: Tensor, tree: PrefixTree) -> Tensor:
    """The block for the prefixes that are a whole sentence alone: (U,W) -> (M,W)."""
    attn, y = block.attn, block.ln_1(x)
    whole = tree.paths.gather(1, tree.ends[:, None]).squeeze(1)
    query = attn.split(attn.q_proj(y[whole]).unsqueeze(1))
    key, value = (attn.split(along(tree.paths, project(y))) for project in (attn.k_proj, attn.v_proj))
    seen = torch.arange(tree.paths.shape[1], device=x.device) <= tree.ends[:, None]
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
    return block.feed_forward(x[whole] + attn.out_proj(attn.merge(attended).squeeze(1)))
