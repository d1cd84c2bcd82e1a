"""The residual attention block that both CLIP towers are made of (Radford et al. 2021). Plain torch.

Shapes: B batch, L tokens, W width, H heads, d head width (W = H * d).
Query, key and value have weights of their own: a method may use, train or leave out each of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that computes in float32 whatever the precision of its input."""

    def forward(self, input: Tensor) -> Tensor:
        if input.dtype == self.weight.dtype == torch.float32:
            return super().forward(input)
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(input.float(), self.normalized_shape, weight, bias, self.eps).to(input.dtype)


class QuickGELU(nn.Module):
    """OpenAI's approximation of GELU: x * sigmoid(1.702 x) = silu(1.702 x) / 1.702. Overwrites its input.

    So a pass makes one tensor of the MLP's width and training keeps two of them, where the formula as it stands makes
    four and keeps three.
    """

    def forward(self, input: Tensor) -> Tensor:
        scaled = input.mul_(1.702)
        return F.silu(scaled, inplace=not torch.is_grad_enabled()).mul_(1 / 1.702)


class Attention(nn.Module):
    """The four projections of multi-head attention; what happens between them is the caller's choice."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def split(self, tokens: Tensor) -> Tensor:
        """(B,L,W) -> (B,H,L,d)"""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def merge(self, heads: Tensor) -> Tensor:
        """(B,H,L,d) -> (B,L,W)"""
        return heads.transpose(1, 2).flatten(-2)


class ResidualBlock(nn.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, *, width: int, heads: int, mlp_width: int, activation: type[nn.Module]):
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, mlp_width))
        self.mlp.add_module("gelu", activation())
        self.mlp.add_module("c_proj", nn.Linear(mlp_width, width))

    def query_key_value(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project normalised tokens (B,L,W) to query, key and value, each (B,H,L,d), biases included."""
        y = self.ln_1(x)
        attn = self.attn
        return attn.split(attn.q_proj(y)), attn.split(attn.k_proj(y)), attn.split(attn.v_proj(y))

    def value(self, x: Tensor) -> Tensor:
        """The value alone, (B,H,L,d): nothing else is computed."""
        return self.attn.split(self.attn.v_proj(self.ln_1(x)))

    def output(self, residual: Tensor, attended: Tensor) -> Tensor:
        """Add projected heads (B,H,L,d) to the residual stream (B,L,W), then the MLP."""
        return self.feed_forward(residual + self.attn.out_proj(self.attn.merge(attended)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Add the MLP of tokens (...,W) to them."""
        return x + self.mlp(self.ln_2(x))

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        query, key, value = self.query_key_value(x)
        return self.output(x, F.scaled_dot_product_attention(query, key, value, is_causal=causal))


def build_blocks(*, layers: int, width: int, heads: int, mlp_ratio: float, quick_gelu: bool) -> nn.ModuleList:
    """The blocks of one tower; the MLP is `int(width * mlp_ratio)` wide, as in open_clip."""
    activation = QuickGELU if quick_gelu else nn.GELU
    return nn.ModuleList(
        ResidualBlock(width=width, heads=heads, mlp_width=int(width * mlp_ratio), activation=activation)
        for _ in range(layers)
    )
