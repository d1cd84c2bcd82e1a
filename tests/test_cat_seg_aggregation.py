"""The steps from CLIP's features to logits, each against its plain formula: cost, places, classes, decoder."""

import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_images, small_model, small_text

from cat_seg.class_layer import ClassLayer, attend, sum_up
from cat_seg.cost import DROPPED_LOGIT, cost_volume, most_similar, pick, restore, unit
from cat_seg.decoder import UpStage
from cat_seg.guidance import own_columns, share_of_guidance
from cat_seg.swin import MASKED, SpatialLayer, WindowAttention, lay_windows, shift_mask, window_order
from ovss.clip.image import value_only, value_to_class


def same(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_cost_volume_by_hand():
    features = torch.tensor([[3.0, 0.0], [4.0, 2.0]]).view(1, 2, 1, 2)  # patches (3,4) and (0,2)
    text = torch.tensor([[[[1.0, 0.0]], [[0.0, 5.0]]]])
    cost = cost_volume(unit(features, dim=1), unit(text, dim=-1))
    same(cost[0, :, 0, 0], torch.tensor([[0.6, 0.0], [0.8, 1.0]]))


def test_cost_volume_of_rows_that_views_choose():
    features, text = torch.randn(3, 4, 2, 5), torch.randn(3, 6, 2, 4)
    expected = torch.cat([cost_volume(features[i : i + 1], text[i : i + 1]) for i in range(3)])
    same(cost_volume(features, text), expected)
    same(expected, torch.einsum("bdhw,btpd->btphw", features, text))


def test_most_similar_takes_the_best_place_of_each_row(monkeypatch):
    """Features are unit vectors of as many directions as there are places, so that text holds the cost itself."""
    features = torch.eye(3).view(1, 3, 1, 3).expand(2, -1, -1, -1).clone()
    features[1] = features[1].flip(-1) * torch.tensor([1.0, 1.0, -1.0])  # sees the first direction reversed
    text = torch.zeros(4, 2, 3)
    text[1, 1, 2], text[3, 0, 0], text[2] = 0.9, 0.8, 0.1
    kept = most_similar(features, text, 2)
    assert kept.tolist() == [[1, 3], [1, 2]]
    monkeypatch.setattr("cat_seg.cost.ROWS_AT_ONCE", 12)  # three rows of two prompts, in two views
    assert torch.equal(most_similar(features, text, 2), kept)
    logits, kept = torch.arange(4.0).view(2, 2, 1, 1), torch.tensor([[1, 3], [0, 2]])
    full = restore(logits, kept, 4)
    assert torch.equal(pick(logits, kept, torch.tensor([2, 3])), full[:, 2:])
    assert full.flatten(1).tolist() == [[DROPPED_LOGIT, 0, DROPPED_LOGIT, 1], [2, DROPPED_LOGIT, 3, DROPPED_LOGIT]]


def test_shares_make_the_linear_map_of_both():
    linear, x, guidance = torch.nn.Linear(7, 4), torch.randn(2, 3, 5), torch.randn(2, 1, 2)
    both = linear(torch.cat([x, guidance.expand(2, 3, 2)], dim=-1))
    same(F.linear(x, own_columns(linear, 5)) + share_of_guidance(linear, guidance), both)


def test_shift_mask_by_hand():
    """A row of 4 x 4 places, windows of 2, rolled by 1: rows 0 1 | 2 3 hold the old rows 1 2 | 3 0."""
    mask = shift_mask((4, 4), 2, 1)
    inside, apart = 0.0, MASKED
    assert mask[0].tolist() == [[inside] * 4] * 4
    right = [[inside, apart, inside, apart], [apart, inside, apart, inside]] * 2
    assert mask[1].tolist() == right
    assert mask[3].tolist() == [[inside if row == column else apart for column in range(4)] for row in range(4)]


def test_places_window_by_window():
    assert window_order((2, 4), 2).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert window_order((2, 4), 2, shift=1).tolist() == [5, 6, 1, 2, 7, 4, 3, 0]


@torch.no_grad()
@pytest.mark.parametrize("shift", [0, 2])
def test_window_attention_equals_masked_attention_over_the_whole_grid(shift):
    """Places attend to each other if they share a window of the rolled grid and were neighbours before."""
    torch.manual_seed(0)
    attention, window, side = WindowAttention(width=8, guidance_width=4, heads=2), 4, 8
    x, guidance = torch.randn(1, 2, side * side, 8), torch.randn(1, 1, side * side, 4)
    place = torch.arange(side)
    group = (place - shift) % side // window * 2 + (place < shift).long() * (shift > 0)
    group = (group[:, None] * 10 + group).flatten()
    allowed = group[:, None] == group
    both = torch.cat([x, guidance.expand(-1, 2, -1, -1)], dim=-1)
    parts = attention.q(both), attention.k(both), attention.v(x)
    query, key, value = (part.unflatten(-1, (2, 4)).transpose(2, 3) for part in parts)
    weights = (query @ key.transpose(-1, -2) / 2).masked_fill(~allowed, float("-inf")).softmax(-1)
    expected = attention.proj((weights @ value).transpose(2, 3).flatten(-2))
    order, split = window_order((side, side), window, shift), (4, window * window)
    masks = lay_windows((side, side), window, x).masks if shift else None
    ordered, guided = x[:, :, order].unflatten(2, split), attention.guide(guidance[:, :, order]).unflatten(2, split)
    same(attention(ordered, guided, masks).flatten(2, 3), expected[:, :, order])


def test_windows_of_a_grid():
    x = torch.zeros(0, dtype=torch.float64)
    windows = lay_windows((4, 4), 2, x)
    assert windows.split == (4, 4)
    assert windows.masks[0] is None, "no place of the first window came from the far side"
    for mask, alone in zip(windows.masks[1:], shift_mask((4, 4), 2, 1)[1:], strict=True):
        assert torch.equal(mask, alone.double())
    places = torch.arange(16)
    shifted = places[windows.into][windows.across]
    assert torch.equal(shifted, window_order((4, 4), 2, 1))
    assert torch.equal(shifted[windows.back], places)
    alone = lay_windows((3, 3), 4, x)
    assert (alone.split, alone.masks) == ((1, 9), None)
    with pytest.raises(ValueError, match="6 x 8 patches cannot be tiled by windows of 4"):
        lay_windows((6, 8), 4, x)


@torch.no_grad()
def test_spatial_layer_on_other_grids():
    """What a place makes depends on its window alone; in the first block of the plain one."""
    layer = SpatialLayer(width=8, guidance_width=4, heads=2)
    for side, grid, shifted in ((4, (8, 12), True), (3, (3, 3), False)):
        x, guidance = torch.randn(1, 2, *grid, 8), torch.randn(1, *grid, 4)
        windows = lay_windows(grid, side, x)
        guided = layer.guide(guidance, windows)
        found = layer(x, guided, windows)
        assert found.shape == x.shape
        assert (windows.masks is not None) == shifted
        changed = x.clone()
        changed[:, :, 0, 0] += 1
        differs = (layer(changed, guided, windows) != found).any(-1)[0, 0]
        assert differs[: side + side // 2, : side + side // 2].any()
        assert not differs[side + side // 2 :].any(), "beyond the shifted windows that the first window reaches"


def test_masks_are_made_once_for_views_that_go_together(small_clip, monkeypatch):
    made = []
    monkeypatch.setattr("cat_seg.swin.shift_mask", lambda *args: made.append(args) or shift_mask(*args))
    model = small_model(small_clip)
    assert len(model.aggregator.layers) == 2
    model(small_images(), small_text(3))
    assert len(made) == 1


def test_linear_attention_sums_over_classes():
    """Classes may be summed up part by part, and a token that counts 7 times is what 7 copies are."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 5, 6, 2, 4), torch.randn(3, 5, 6, 2, 4), torch.randn(3, 5, 6, 2, 4)
    extra_key, extra_value = torch.randn(1, 1, 1, 2, 4), torch.randn(1, 1, 1, 2, 4)
    keys = torch.cat([key, extra_key.expand(3, 7, 6, 2, 4)], dim=1)
    values = torch.cat([value, extra_value.expand(3, 7, 6, 2, 4)], dim=1)
    weights = torch.einsum("btnhd,bsnhd->bnhts", F.elu(query) + 1, F.elu(keys) + 1)
    expected = torch.einsum("bnhts,bsnhd->btnhd", weights / weights.sum(-1, keepdim=True), values)
    one = sum_up(extra_key, extra_value)
    padding = type(one)(7 * one.keys, 7 * one.products)
    sums = padding.add(sum_up(key[:, :2], value[:, :2])).add(sum_up(key[:, 2:], value[:, 2:]))
    same(attend(query, sums), expected)


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
    (guided,) = layer.guide([guidance])
    sums = layer.padding(classes).add(layer.sums(x, guided, pooling))
    same(layer(x, guided, sums, pooling), x + change.permute(0, 1, 3, 4, 2))


@torch.no_grad()
def test_up_stage_equals_the_convolution_of_both():
    torch.manual_seed(0)
    stage = UpStage(width=32, out_width=16, guidance_channels=3, guidance_width=8)
    x, guidance = torch.randn(2, 3, 32, 4, 5), torch.randn(2, 3, 8, 10)
    raised = stage.up(x.flatten(0, 1))
    beside = stage.guidance(guidance).repeat_interleave(3, dim=0)
    y = F.relu(stage.norm1(stage.conv1(torch.cat([raised, beside], dim=1))))
    expected = F.relu(stage.norm2(stage.conv2(y))).unflatten(0, (2, 3))
    same(stage(x, *stage.prepare(guidance)), expected)


@torch.no_grad()
def test_last_block_rules(small_clip):
    block, x = small_clip.visual.resblocks[-1], torch.randn(2, 5, 64)
    projected = block.attn.out_proj(block.attn.v_proj(block.ln_1(x)))
    for rule, residual in ((value_to_class, x[:, :1]), (value_only, x)):
        y = residual + projected
        same(rule(block, x)[0], y + block.mlp(block.ln_2(y)))
