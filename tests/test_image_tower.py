"""The image tower: equal to open_clip's on its own ground; layers, rules, positions, sizes."""

import open_clip
import pytest
import torch
import torch.nn.functional as F

from ovss.clip.image import ImageTower, value_only
from ovss.clip.keys import from_openai_keys, to_openai_keys
from ovss.clip.model import CLIP
from ovss.clip.positions import resize_positions


def open_clip_twin(config):
    """open_clip's model of the same config with seeded weights, and ours with the same."""
    torch.manual_seed(1)
    config = {key: value for key, value in config.items()}
    theirs = open_clip.CLIP(**config).eval()
    ours = CLIP(config).eval()
    ours.load_state_dict(from_openai_keys(theirs.state_dict()))
    return theirs, ours


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_equal_to_open_clip(small_config, quick_gelu):
    theirs, ours = open_clip_twin(small_config | {"quick_gelu": quick_gelu})
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images), atol=1e-5, rtol=1e-5)
        words = ["a photo of a cat.", "itap of my big dog", ""]
        expected = theirs.encode_text(open_clip.tokenize(words))
        torch.testing.assert_close(ours.encode_text(words), expected, atol=1e-5, rtol=1e-5)


def test_keys_there_and_back(small_config):
    theirs, ours = open_clip_twin(small_config)
    back = to_openai_keys(ours.state_dict())
    original = theirs.state_dict()
    assert back.keys() == original.keys() - {"attn_mask"}
    assert all(torch.equal(back[key], original[key]) for key in back)


def test_layers_are_block_outputs(small_clip):
    tower = small_clip.visual
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        features = tower(images, layers=[0, 2, -1])
        x, grid = tower.embed(images, "bicubic")
        outputs = []
        for block in tower.resblocks:
            x = block(x)
            outputs.append(x)
    assert grid == features.grid == (4, 6)
    for index in (0, 2, -1):
        torch.testing.assert_close(features.layers[index], outputs[index])
    expected = tower.ln_post(outputs[-1]) @ tower.proj
    torch.testing.assert_close(features.class_token, expected[:, 0])
    torch.testing.assert_close(features.patches, expected[:, 1:])


def test_rules_replace_blocks_counted_from_the_end(small_clip):
    tower = small_clip.visual
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        plain = tower(images)
        same = tower(images, rules={-2: lambda block, x: (block(x), x.shape)})
        torch.testing.assert_close(same.patches, plain.patches)
        assert same.kept == {-2: torch.Size([2, 17, 64])}
        skipped = tower(images, rules={-1: lambda block, x: (x, None)}, layers=[-2])
        torch.testing.assert_close(tower.ln_post(skipped.layers[-2])[:, 1:] @ tower.proj, skipped.patches)


def test_value_only_equals_attention_to_oneself(small_clip):
    """Attention whose mask lets every token see itself alone returns its value."""
    block = small_clip.visual.resblocks[-1]
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        query, key, value = block.query_key_value(x)
        alone = torch.eye(5, dtype=torch.bool)
        expected = block.output(x, F.scaled_dot_product_attention(query, key, value, attn_mask=alone))
        torch.testing.assert_close(value_only(block, x)[0], expected)


@pytest.mark.parametrize(("height", "width"), [(32, 33), (8, 0), (31, 32)])
def test_sides_must_fit_the_patch(small_clip, height, width):
    with pytest.raises(ValueError, match=f"{height} x {width} px: both sides must be multiples of the patch, 8 px"):
        small_clip.visual(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize("arguments", [{"layers": [4]}, {"layers": [-5]}, {"rules": {-7: value_only}}])
def test_blocks_that_do_not_exist(small_clip, arguments):
    with pytest.raises(ValueError, match="this tower has 4 blocks"):
        small_clip.visual(torch.zeros(1, 3, 8, 8), **arguments)


def test_batch_equals_single(small_clip):
    images = torch.randn(3, 3, 24, 40)
    with torch.no_grad():
        batch = small_clip.visual(images).patches
        for index in range(3):
            torch.testing.assert_close(small_clip.visual(images[index : index + 1]).patches[0], batch[index])


def test_half_precision_normalises_in_float32(small_config):
    tower = ImageTower(image_size=32, patch_size=8, width=64, layers=1, heads=4, embed_dim=8)
    assert tower.ln_pre.half()(torch.full((1, 2, 64), 6e4, dtype=torch.float16)).isfinite().all()


def test_positions():
    table = torch.randn(1 + 16, 5)
    assert resize_positions(table, (4, 4)) is table
    patches = table[1:].T.reshape(1, 5, 4, 4)
    expected = F.interpolate(patches, size=(6, 3), mode="bicubic", align_corners=False)
    resized = resize_positions(table, (6, 3))
    torch.testing.assert_close(resized[1:], expected[0].flatten(1).T)
    torch.testing.assert_close(resized[0], table[0])
    assert not torch.allclose(resize_positions(table, (2, 2), "antialias"), resize_positions(table, (2, 2)))


def cubic(distance):
    """Keys' cubic convolution kernel with a = -0.75, the one that torch's bicubic uses."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_offset_positions_sample_at_the_published_step():
    """Output i of h lies at (i + 0.5) n / (h + 0.1) - 0.5 on the table's side of n, not at (i + 0.5) n / h - 0.5."""
    side, grid = 14, 21
    line = torch.randn(side)
    table = torch.cat([torch.zeros(1, 1), line.repeat(side, 1).reshape(-1, 1)])
    resized = resize_positions(table, (grid, grid), "offset")[1:].reshape(grid, grid)
    for column in range(4, 17):
        place = (column + 0.5) * side / (grid + 0.1) - 0.5
        expected = sum(line[tap] * cubic(place - tap) for tap in range(side))
        assert abs(resized[10, column] - expected) < 1e-4


@pytest.mark.parametrize(
    ("rows", "method", "message"),
    [(18, "bicubic", "1 \\+ n\\*n rows, this one has 18"), (17, "nearest", "unknown way")],
)
def test_positions_errors(rows, method, message):
    with pytest.raises(ValueError, match=message):
        resize_positions(torch.zeros(rows, 3), (2, 2), method)
