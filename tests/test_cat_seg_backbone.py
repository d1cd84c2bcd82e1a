"""Appearance backbones against the libraries' own networks, and every way in which a file of weights may not fit."""

import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from torchvision.models import resnet101

from cat_seg.backbone import ResNet101, SwinBase, build_backbone, load_backbone


@pytest.fixture(scope="module")
def network():
    """torchvision's ResNet-101 with batch norms that do something, yet keep 33 blocks from growing."""
    torch.manual_seed(0)
    network = resnet101(weights=None).eval()
    for name, value in network.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point():
                value.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def swin():
    """timm's Swin-B of two classes; it has a fourth stage, a norm and a head that CAT-Seg's has not."""
    torch.manual_seed(0)
    network = SwinTransformer(
        img_size=384, window_size=12, embed_dim=128, depths=(2, 2, 18, 1), num_heads=(4, 8, 16, 32), num_classes=2
    ).eval()
    for name, value in network.named_parameters():
        if name.endswith("relative_position_bias_table"):
            value.data.normal_(std=0.5)
    return network


@torch.no_grad()
def test_resnet_is_torchvisions(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "resnet101.pth")
    backbone = build_backbone("resnet101", 384, 0.3).train()  # frozen batch norms are the same in training
    load_backbone(backbone, tmp_path / "resnet101.pth")
    image = torch.randn(1, 3, 64, 96)
    expected = {}
    for name in ("layer1", "layer2", "layer3"):
        network.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: expected.update({name: out}))
    network(image)
    levels = backbone(image)
    for found, name in zip(levels, ("layer3", "layer2", "layer1"), strict=True):
        torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=1e-4)
    assert [level.shape[1] for level in levels] == list(ResNet101.channels)
    assert [tuple(level.shape[2:]) for level in levels] == [(4, 6), (8, 12), (16, 24)]


@torch.no_grad()
def test_swin_is_timms(swin, tmp_path):
    torch.save(swin.state_dict(), tmp_path / "swin.pth")
    backbone = build_backbone("swin_base", 384, 0.3).eval()
    load_backbone(backbone, tmp_path / "swin.pth")
    for index, norm in enumerate(backbone.norms):
        norm.weight.fill_(index + 1)
    image = torch.randn(1, 3, 384, 384)
    expected = swin.patch_embed(image)
    for index, found in enumerate(backbone(image)[::-1]):
        expected = swin.layers[index](expected)
        normed = (index + 1) * F.layer_norm(expected, expected.shape[-1:])
        torch.testing.assert_close(found, normed.permute(0, 3, 1, 2), atol=1e-5, rtol=1e-4)


def test_swins_own_file(swin, tmp_path):
    """There a stage ends with the halving, and tables that can be computed lie beside."""

    def own(key):
        return re.sub(r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", key)

    state = {own(key): value for key, value in swin.state_dict().items()}
    state |= {f"layers.{stage}.blocks.0.attn.relative_position_index": torch.zeros(144, 144) for stage in range(4)}
    torch.save({"model": state}, tmp_path / "swin.pth")
    backbone = SwinBase(resolution=384, drop_path=0.0)
    load_backbone(backbone, tmp_path / "swin.pth")
    loaded = {key: value for key, value in backbone.state_dict().items() if not key.startswith("norms.")}
    assert all(torch.equal(value, swin.state_dict()[key]) for key, value in loaded.items())


def test_stochastic_depth():
    """From 0 in the first of 22 blocks to the given rate in the last; none at rate 0."""
    with torch.device("meta"):
        noisy, still = SwinBase(resolution=384, drop_path=0.3), SwinBase(resolution=384, drop_path=0.0)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for layer in noisy.layers for block in layer.blocks]
    assert rates == pytest.approx([0.3 * index / 21 for index in range(22)])
    assert not any(hasattr(block.drop_path1, "drop_prob") for layer in still.layers for block in layer.blocks)


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown appearance backbone 'resnet50'; known: resnet101, swin_base"):
        build_backbone("resnet50", 384, 0.3)


def change(state, what):
    if what == "missing":
        del state["layer3.0.conv1.weight"]
    elif what == "unknown":
        state["layer3.23.conv1.weight"] = torch.zeros(1)
    else:
        state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    return state


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "1 missing (such as layer3.0.conv1.weight)"),
        ("unknown", "1 unknown (such as layer3.23.conv1.weight)"),
        ("shape", "1 of another shape (such as conv1.weight is (64, 3, 3, 3) in the file, (64, 3, 7, 7) in the model)"),
    ],
)
def test_what_does_not_fit(network, tmp_path, what, message):
    torch.save(change(network.state_dict(), what), tmp_path / "resnet101.pth")
    with pytest.raises(ValueError, match=re.escape(f"resnet101.pth are not ImageNet's for ResNet101: {message}")):
        load_backbone(ResNet101(), tmp_path / "resnet101.pth")


def test_a_pickle_is_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    (tmp_path / "R-101.pkl").write_bytes(pickle.dumps({"model": Hostile()}, protocol=2))
    with pytest.raises(ValueError, match=r"R-101\.pkl: "):
        load_backbone(ResNet101(), tmp_path / "R-101.pkl")
    assert not (tmp_path / "touched").exists()
