"""CLIP's text tower: tokens to one embedding per sentence. Plain torch.

Shapes: M sentences, L tokens, W width, D embedding width. The tower is causal and the embedding is read at the
end-of-text token, so tokens behind it have no effect: batches are cut to their longest sentence, exactly.
"""

import torch
from torch import Tensor, nn

from ovss.checkpointing import recomputed
from ovss.clip.transformer import LayerNorm, build_blocks


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
        """Encode token ids (M,L), L up to the context length, end-of-text the largest id: (M,D), not normalised.

        The ids are read where they lie and moved to the tower's device; on the CPU, a GPU need not be waited for.
        """
        device = self.positional_embedding.device
        end = tokens.argmax(dim=-1)
        tokens, end = tokens[:, : int(end.max()) + 1].to(device), end.to(device)
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block in self.resblocks:
            x = recomputed(self.checkpointed, block, x, True)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), end])
        return x @ self.text_projection
