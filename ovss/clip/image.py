"""CLIP's image tower, dense: patch features, chosen layers, blocks that a method may replace. Plain torch.

Shapes: B batch, W width, D embedding width, h w patch grid, N = h*w patches, L = 1 + N tokens (class token first),
R prompts (learned tokens of a block, behind the class token; most towers have none).
Layers are returned, never hooked; blocks are counted from the end (-1 is the last), so that no method names a depth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ovss.checkpointing import recomputed
from ovss.clip.positions import resize_positions
from ovss.clip.transformer import LayerNorm, ResidualBlock, build_blocks

# Takes a block and its input (B,L,W); returns its output (B,L,W) and anything the method wants to keep.
BlockRule = Callable[[ResidualBlock, Tensor], tuple[Tensor, Any]]


@dataclass(frozen=True)
class ImageFeatures:
    """What the tower saw. Features are projected (after `ln_post`) and not normalised."""

    class_token: Tensor  # (B,D)
    patches: Tensor  # (B,N,D), row by row
    grid: tuple[int, int]  # (h, w)
    layers: dict[int, Tensor]  # index as asked for -> (B,L,W) output of that block, before any norm
    kept: dict[int, Any]  # index as given in `rules` -> what that rule kept


class ImageTower(nn.Module):
    """A vision transformer with the parameters of CLIP's. `forward` takes any size divisible by the patch.

    `checkpointed`, False until set: training keeps the input of each block and runs it again for its gradients.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        embed_dim: int,
        mlp_ratio: float = 4.0,
        quick_gelu: bool = True,
    ):
        super().__init__()
        self.patch_size = patch_size
        self.checkpointed = False
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn((image_size // patch_size) ** 2 + 1, width) * width**-0.5)
        self.ln_pre = LayerNorm(width)
        self.resblocks: nn.ModuleList = build_blocks(
            layers=layers, width=width, heads=heads, mlp_ratio=mlp_ratio, quick_gelu=quick_gelu
        )
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)
        self.prompt_tokens: nn.Parameter | None
        self.register_parameter("prompt_tokens", None)

    def add_prompts(self, depth: int, length: int) -> None:
        """Give each of the first `depth` blocks `length` learned tokens (VPT-deep; Jia et al., ECCV 2022, section 3.2).

        They take the place of those of the block before; the last ones stay to the end. No output holds them.

        Raises:
            ValueError: fewer than one token, or more blocks than there are.
        """
        if length < 1 or not 1 <= depth <= len(self.resblocks):
            raise ValueError(
                f"{length} prompts in {depth} blocks: give at least one, in 1 to {len(self.resblocks)} blocks"
            )
        self.prompt_tokens = nn.Parameter(torch.empty(depth, length, len(self.class_embedding)))
        nn.init.xavier_uniform_(self.prompt_tokens)

    def with_prompts(self, x: Tensor, depth: int) -> Tensor:
        """What goes into a block: (B,L,W), or (B,L+R,W) where an earlier block had prompts, to (B,L+R,W)."""
        if self.prompt_tokens is None or depth >= len(self.prompt_tokens):
            return x
        prompts = self.prompt_tokens[depth].expand(x.shape[0], -1, -1)
        return torch.cat([x[:, :1], prompts, x[:, 1:] if depth == 0 else x[:, 1 + prompts.shape[1] :]], dim=1)

    def without_prompts(self, x: Tensor) -> Tensor:
        """(B,L+R,W) -> (B,L,W)"""
        if self.prompt_tokens is None:
            return x
        return torch.cat([x[:, :1], x[:, 1 + self.prompt_tokens.shape[1] :]], dim=1)

    def embed(self, images: Tensor, positions: str) -> tuple[Tensor, tuple[int, int]]:
        """Patch embedding, class token and positions: (B,3,H,W) -> (B,L,W) and the grid."""
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size or not height or not width:
            raise ValueError(
                f"image of {height} x {width} px: both sides must be multiples of the patch, {self.patch_size} px"
            )
        patches = self.conv1(images)
        grid = (patches.shape[-2], patches.shape[-1])
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(tokens.shape[0], 1, -1), tokens], dim=1)
        return self.ln_pre(tokens + resize_positions(self.positional_embedding, grid, positions)), grid

    def forward(
        self,
        images: Tensor,
        *,
        positions: str = "bicubic",
        rules: Mapping[int, BlockRule] | None = None,
        layers: Sequence[int] = (),
    ) -> ImageFeatures:
        """Encode normalised images (B,3,H,W).

        Args:
            positions: how position embeddings are resized, see `resize_positions`.
            rules: block index counted from the end (-1, -2, ...) -> what runs in place of that block.
            layers: blocks whose output is wanted, 0-based or counted from the end.

        Raises:
            ValueError: sides that the patch does not divide, or a block that does not exist.
        """
        count = len(self.resblocks)
        rules = rules or {}
        for index in (*rules, *layers):
            if not -count <= index < count:
                raise ValueError(f"block {index} asked for, but this tower has {count} blocks")
        by_depth = {index % count: (index, rule) for index, rule in rules.items()}
        kept: dict[int, Any] = {}
        outputs: dict[int, Tensor] = {}
        x, grid = self.embed(images, positions)
        for depth, block in enumerate(self.resblocks):
            x = self.with_prompts(x, depth)
            if depth in by_depth:
                index, rule = by_depth[depth]
                assert isinstance(block, ResidualBlock)
                x, kept[index] = recomputed(self.checkpointed, rule, block, x)
            else:
                x = recomputed(self.checkpointed, block, x)
            outputs.update({index: self.without_prompts(x) for index in layers if index % count == depth})
        tokens = self.ln_post(self.without_prompts(x)) @ self.proj
        return ImageFeatures(tokens[:, 0], tokens[:, 1:], grid, outputs, kept)


def value_only(block: ResidualBlock, x: Tensor) -> tuple[Tensor, None]:
    """MaskCLIP (Zhou et al., ECCV 2022, section 3.2): every token attends to itself, so values go straight on."""
    return block.output(x, block.value(x)), None


def value_to_class(block: ResidualBlock, x: Tensor) -> tuple[Tensor, None]:
    """CAT-Seg, second version: as `value_only`, but every value is added to the class token, not to its own token."""
    return block.output(x[:, :1], block.value(x)), None
