"""The steps from CLIP's features to logits, each against its plain formula: cost, places, classes, decoder."""

import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_images, small_model, small_text

from cat_seg import swin
from cat_seg.aggregation import ClassLayer, linear_attention
from cat_seg.cost import DROPPED_LOGIT, cost_volume, most_similar, restore
from cat_seg.decoder import UpStage
from cat_seg.guidance import guided
from cat_seg.swin import (
    MASKED,
    SpatialLayer,
    WindowAttention,
    Windows,
    from_windows,
    lay_windows,
    shift_mask,
    to_windows,
)
from ovss.clip.image import value_only, value_to_class

CPU = torch.device("cpu")


def same(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_cost_volume_by_hand():
    features = torch.tensor([[3.0, 0.0], [4.0, 2.0]]).view(1, 2, 1, 2)  # patches (3,4) and (0,2)
    text = torch.tensor([[[1.0, 0.0]], [[0.0, 5.0]]])
    same(cost_volume(features, text)[0, :, 0, 0], torch.tensor([[0.6, 0.0], [0.8, 1.0]]))


def test_most_similar_takes_the_best_place_of_each_row():
    cost = torch.zeros(2, 4, 2, 1, 3)
    cost[0, 1, 1, 0, 2], cost[0, 3, 0, 0, 0], cost[0, 2] = 0.9, 0.8, 0.1
    cost[1, 0, 0, 0, 1], cost[1, 2, 1, 0, 0] = 0.3, 0.4
    kept = most_similar(cost, 2)
    assert kept.tolist() == [[1, 3], [0, 2]]
    full = restore(torch.arange(4.0).view(2, 2, 1, 1), kept, 4)
    assert full.flatten(1).tolist() == [[DROPPED_LOGIT, 0, DROPPED_LOGIT, 1], [2, DROPPED_LOGIT, 3, DROPPED_LOGIT]]


def test_guided_equals_the_linear_map_of_both():
    linear, x, guidance = torch.nn.Linear(7, 4), torch.randn(2, 3, 5), torch.randn(2, 1, 2)
    same(guided(linear, x, guidance), linear(torch.cat([x, guidance.expand(2, 3, 2)], dim=-1)))


def test_shift_mask_by_hand():
    """A row of 4 x 4 places, windows of 2, rolled by 1: rows 0 1 | 2 3 hold the old rows 1 2 | 3 0."""
    mask = shift_mask((4, 4), 2, 1, CPU)
    inside, apart = 0.0, MASKED
    assert mask[0].tolist() == [[inside] * 4] * 4
    right = [[inside, apart, inside, apart], [apart, inside, apart, inside]] * 2
    assert mask[1].tolist() == right
    assert mask[3].tolist() == [[inside if row == column else apart for column in range(4)] for row in range(4)]


def test_windows_and_back():
    x = torch.randn(2, 3, 4, 8, 6)
    windows = to_windows(x, window=4, heads=2)
    assert windows.shape == (6, 4, 16, 3)
    assert torch.equal(windows[0, 1, 5], x[0, 0, 1, 1, 3:])  # second head of the first window
    assert torch.equal(from_windows(windows, x.shape, 4, 2), x)


@torch.no_grad()
@pytest.mark.parametrize("shift", [0, 2])
def test_window_attention_equals_masked_attention_over_the_whole_grid(shift):
    """Places attend to each other if they share a window of the rolled grid and were neighbours before."""
    torch.manual_seed(0)
    attention, window, side = WindowAttention(width=8, guidance_width=4, heads=2), 4, 8
    x, guidance = torch.randn(1, 2, side, side, 8), torch.randn(1, side, side, 4)
    place = torch.arange(side)
    group = (place - shift) % side // window * 2 + (place < shift).long() * (shift > 0)
    group = (group[:, None] * 10 + group).flatten()
    allowed = group[:, None] == group
    both = torch.cat([x, guidance[:, None].expand(-1, 2, -1, -1, -1)], dim=-1).flatten(2, 3)
    parts = attention.q(both), attention.k(both), attention.v(x.flatten(2, 3))
    query, key, value = (part.unflatten(-1, (2, 4)).transpose(2, 3) for part in parts)
    weights = (query @ key.transpose(-1, -2) / 2).masked_fill(~allowed, float("-inf")).softmax(-1)
    expected = attention.proj((weights @ value).transpose(2, 3).flatten(-2)).view_as(x)
    windows = lay_windows((side, side), window, attention.heads, x)
    same(attention(x, guidance[:, None], windows if shift else Windows(window, None)), expected)


def test_windows_of_a_grid():
    x = torch.zeros(0, dtype=torch.float64)
    side, mask = lay_windows((4, 4), 2, 3, x)
    assert (side, mask.dtype, mask.shape) == (2, x.dtype, (1, 12, 4, 4))
    alone = shift_mask((4, 4), 2, 1, CPU).to(x)
    assert torch.equal(mask.view(4, 3, 4, 4), torch.stack([alone] * 3, dim=1))  # windows, then heads
    assert lay_windows((3, 3), 4, 2, x) == Windows(3, None)
    with pytest.raises(ValueError, match="6 x 8 patches cannot be tiled by windows of 4"):
        lay_windows((6, 8), 4, 2, x)


def test_spatial_layer_on_other_grids():
    layer = SpatialLayer(width=8, guidance_width=4, heads=2)
    for side, grid in ((4, (8, 12)), (3, (3, 3))):
        x, guidance = torch.randn(1, 2, *grid, 8), torch.randn(1, *grid, 4)
        windows = lay_windows(grid, side, 2, x)
        assert layer(x, guidance, windows).shape == x.shape
        plain = layer(x, guidance, Windows(side, None))
        assert torch.equal(layer(x, guidance, windows), plain) == (windows.mask is None)


def test_masks_are_made_once_a_pass(small_clip, monkeypatch):
    made = []
    monkeypatch.setattr(swin, "shift_mask", lambda *args: made.append(args) or shift_mask(*args))
    model = small_model(small_clip)
    assert len(model.aggregator.layers) == 2
    model(small_images(), small_text(3))
    assert len(made) == 1


def test_linear_attention_counts_equal_tokens():
    """`count` times one token must be what that many copies are."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 4)
    extra_key, extra_value = torch.randn(2, 1, 4), torch.randn(2, 1, 4)
    keys = torch.cat([key, extra_key.expand(3, 2, 7, 4)], dim=2)
    values = torch.cat([value, extra_value.expand(3, 2, 7, 4)], dim=2)
    weights = (F.elu(query) + 1) @ (F.elu(keys) + 1).transpose(-1, -2)
    expected = weights / weights.sum(-1, keepdim=True) @ values
    same(linear_attention(query, key, value, (extra_key, extra_value, 7)), expected)


@torch.no_grad()
@pytest.mark.parametrize("classes", [1, 5, 6, 7])
@pytest.mark.parametrize("pooling", [1, 2])
def test_class_layer_equals_the_padded_sequence(classes, pooling):
    torch.manual_seed(0)
    layer = ClassLayer(width=8, guidance_width=4, heads=2, class_tokens=6)
    layer.padding_tokens.normal_(), layer.padding_guidance.normal_()
    x, guidance = torch.randn(2, classes, 4, 6, 8), torch.randn(2, classes, 4)
    count = max(6 - classes, 0)
    pooled = F.avg_pool2d(x.permute(0, 1, 4, 2, 3).flatten(0, 1), pooling).unflatten(0, (2, classes))
    tokens = pooled.permute(0, 3, 4, 1, 2)
    rows, columns = tokens.shape[1:3]
    tokens = torch.cat([tokens, layer.padding_tokens[None, None].expand(2, rows, columns, count, 8)], dim=3)
    words = torch.cat([guidance, layer.padding_guidance.expand(2, count, 4)], dim=1)[:, None, None]
    seen = layer.norm1(tokens)
    both = torch.cat([seen, words.expand(2, rows, columns, -1, 4)], dim=-1)
    query, key, value = (part.unflatten(-1, (2, 4)) for part in (layer.q(both), layer.k(both), layer.v(seen)))
    weights = torch.einsum("bhwtnd,bhwsnd->bhwnts", F.elu(query) + 1, F.elu(key) + 1)
    attended = torch.einsum("bhwnts,bhwsnd->bhwtnd", weights / weights.sum(-1, keepdim=True), value).flatten(-2)
    tokens = tokens + attended
    tokens = (tokens + layer.mlp(layer.norm2(tokens)))[:, :, :, :classes]
    maps = tokens.permute(0, 3, 4, 1, 2).flatten(0, 1)
    change = F.interpolate(maps, (4, 6), mode="bilinear", align_corners=True).unflatten(0, (2, classes))
    same(layer(x, guidance, pooling), x + change.permute(0, 1, 3, 4, 2))


@torch.no_grad()
def test_up_stage_equals_the_convolution_of_both():
    torch.manual_seed(0)
    stage = UpStage(width=32, out_width=16, guidance_channels=3, guidance_width=8)
    x, guidance = torch.randn(2, 3, 32, 4, 5), torch.randn(2, 3, 8, 10)
    raised = stage.up(x.flatten(0, 1))
    beside = stage.guidance(guidance).repeat_interleave(3, dim=0)
    y = F.relu(stage.norm1(stage.conv1(torch.cat([raised, beside], dim=1))))
    expected = F.relu(stage.norm2(stage.conv2(y))).unflatten(0, (2, 3))
    same(stage(x, stage.share(guidance)), expected)


@torch.no_grad()
def test_last_block_rules(small_clip):
    block, x = small_clip.visual.resblocks[-1], torch.randn(2, 5, 64)
    projected = block.attn.out_proj(block.attn.v_proj(block.ln_1(x)))
    for rule, residual in ((value_to_class, x[:, :1]), (value_only, x)):
        y = residual + projected
        same(rule(block, x)[0], y + block.mlp(block.ln_2(y)))
