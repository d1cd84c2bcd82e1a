"""CLIPtrase's self-correlation and its recalibration (ECCV 2024, section 3). Plain torch.

Shapes: B batch, H heads, L = 1 + N tokens (class token first), d head width, N patches.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ovss.clip.transformer import ResidualBlock
from ovss.precision import at_least_float32


def self_correlation(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Mean over heads and over q, k, v of the cosine between tokens: three (B,H,L,d) -> (B,L,L), in [-1, 1].

    Cosines of unit vectors add up to one matrix product of all heads' unit q, k and v side by side. Never in half
    precision, which moves neighbours across the radius of DBSCAN.
    """
    heads = query.shape[1]
    with torch.autocast(query.device.type, enabled=False):
        parts = [at_least_float32(part) for part in (query, key, value)]
        stacked = torch.cat([F.normalize(part, dim=-1).transpose(1, 2).flatten(2) for part in parts], dim=-1)
        return stacked @ stacked.transpose(1, 2) / (3 * heads)


def recalibrate(correlation: Tensor) -> Tensor:
    """Patch rows of a self-correlation minus the class token's row, negatives set to 0: (B,L,L) -> (B,N,N).

    What every patch shares with the class token is the "global patches'"; what is left is local.
    """
    return (correlation[:, 1:, 1:] - correlation[:, :1, 1:]).clamp_min(0)


def keep_correlation(block: ResidualBlock, x: Tensor) -> tuple[Tensor, Tensor]:
    """Block rule: run the block as it is, keep the self-correlation (B,L,L) of its q, k and v."""
    query, key, value = block.query_key_value(x)
    return block.output(x, F.scaled_dot_product_attention(query, key, value)), self_correlation(query, key, value)


def self_self_attention(block: ResidualBlock, x: Tensor) -> tuple[Tensor, None]:
    """Block rule: attention by softmax(qq') + softmax(kk') + softmax(vv'), scaled as usual; the sum, not the mean."""
    parts = block.query_key_value(x)
    attended = [F.scaled_dot_product_attention(part, part, parts[-1]) for part in parts]
    return block.output(x, torch.stack(attended).sum(0)), None
