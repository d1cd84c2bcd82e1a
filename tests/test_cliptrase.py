"""The model: correlation in closed form, both variants, baselines, and the invariances of the contract."""

import pytest
import torch
import torch.nn.functional as F

from cliptrase.correlation import keep_correlation, recalibrate, self_correlation, self_self_attention
from cliptrase.model import CLIPtrase, Regions

REGIONS = Regions(eps=1.05, min_points=2)


@pytest.fixture(scope="module")
def clip(varied_clip):
    return varied_clip


@pytest.fixture(scope="module")
def text():
    torch.manual_seed(4)
    return F.normalize(torch.randn(6, 1, 24), dim=-1)


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(5)
    return torch.rand(3, 3, 40, 56)


def test_correlation_equals_a_loop_over_heads():
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, 5, 4) for _ in range(3)]
    expected = torch.zeros(2, 5, 5)
    for batch in range(2):
        for part in parts:
            for head in range(3):
                tokens = part[batch, head]
                for i in range(5):
                    for j in range(5):
                        expected[batch, i, j] += F.cosine_similarity(tokens[i], tokens[j], dim=0) / 9
    found = self_correlation(*parts)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2), torch.ones(2, 5))


def test_recalibration_by_hand():
    correlation = torch.tensor([[[1.0, 0.5, 0.2], [0.5, 1.0, 0.1], [0.2, 0.1, 1.0]]])
    torch.testing.assert_close(recalibrate(correlation), torch.tensor([[[0.5, 0.0], [0.0, 0.8]]]))


def test_keeping_the_correlation_changes_nothing(clip):
    block, x = clip.visual.resblocks[1], torch.randn(2, 7, 64)
    with torch.no_grad():
        output, kept = keep_correlation(block, x)
        torch.testing.assert_close(output, block(x))
        torch.testing.assert_close(kept, self_correlation(*block.query_key_value(x)))


def test_self_self_attention_is_the_sum_of_three(clip):
    block, x = clip.visual.resblocks[1], torch.randn(2, 7, 64)
    with torch.no_grad():
        query, key, value = block.query_key_value(x)
        weights = sum((part @ part.transpose(2, 3) / 16**0.5).softmax(-1) for part in (query, key, value))
        torch.testing.assert_close(weights.sum(-1), torch.full((2, 4, 7), 3.0))
        torch.testing.assert_close(self_self_attention(block, x)[0], block.output(x, weights @ value))


SETTINGS = {
    "paper": {},
    "voc": {"class_token_weighting": True},
    "detectron2": {"fusion": "mean", "unit_features": False, "input_scale": 0.5},
    "clip": {"attention": "plain", "fusion": "none"},
    "maskclip": {"attention": "value", "fusion": "none"},
    "clip with regions": {"attention": "plain"},
}


def build(clip, name):
    return CLIPtrase(clip=clip, regions=REGIONS, **SETTINGS[name]).eval()


def fitting(images, model):
    """Pictures whose sides the model takes."""
    sides = [side // model.size_divisibility * model.size_divisibility for side in images.shape[-2:]]
    return images[..., : sides[0], : sides[1]]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("size", [None, (33, 47)])
def test_batch_equals_single_and_classes_permute(clip, text, images, name, size):
    model = build(clip, name)
    inputs = fitting(images, model)
    batch = model(inputs, text, size=size)
    assert batch.shape == (3, 6, *(size or inputs.shape[-2:]))
    for index in range(3):
        torch.testing.assert_close(
            model(inputs[index : index + 1], text, size=size)[0], batch[index], atol=1e-4, rtol=1e-4
        )
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    torch.testing.assert_close(model(inputs, text[order], size=size), batch[:, order], atol=1e-4, rtol=1e-4)


def test_regions_are_many_and_votes_are_shares(clip, text, images):
    """The fixture does exercise regions: else the tests above would compare plain predictions."""
    shares = build(clip, "paper")(images, text)
    torch.testing.assert_close(shares.sum(1), torch.ones(3, 40, 56))
    assert ((shares > 0.01) & (shares < 0.99)).any()
    assert len(shares[0].flatten(1).T.unique(dim=0)) > 1


def test_without_regions_every_pixel_keeps_its_own_class(clip, text, images):
    """An eps at which all is noise: the labels are those of plain patch logits."""
    none = CLIPtrase(clip=clip, regions=Regions(eps=1e-6, min_points=2))(images, text)
    plain = CLIPtrase(clip=clip, fusion="none")(images, text)
    assert torch.equal(none.argmax(1), plain.argmax(1))


def test_one_region_makes_one_class(clip, text, images):
    labels = CLIPtrase(clip=clip, regions=Regions(eps=1e6, min_points=1))(images, text).argmax(1)
    plain = CLIPtrase(clip=clip, fusion="none")(images, text).argmax(1)
    for found, before in zip(labels, plain, strict=True):
        assert found.unique().tolist() == [before.flatten().bincount().argmax().item()]


def test_prompts_are_averaged(clip, text, images):
    model = build(clip, "clip")
    several = torch.cat([text, text.flip(0)], dim=1)
    mean = F.normalize(several.mean(1, keepdim=True), dim=-1)
    torch.testing.assert_close(model(images, several), model(images, mean))


@pytest.mark.parametrize("name", ["clip", "paper", "detectron2"])
def test_synonyms_score_as_the_best(clip, text, images, name):
    """A class asked for by the same row twice answers as if asked once; background rows merge into one class."""
    model = build(clip, name)
    inputs = fitting(images, model)
    twice = model(inputs, text[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 2]))
    torch.testing.assert_close(twice, model(inputs, text[:3]), atol=1e-4, rtol=1e-4)


def test_class_token_weighting_multiplies(clip, text, images):
    plain, weighted = (
        build(clip, "clip"),
        CLIPtrase(clip=clip, attention="plain", fusion="none", class_token_weighting=True),
    )
    with torch.no_grad():
        features, _ = plain.encode(images)
        token = F.normalize(features.class_token, dim=-1) @ text[:, 0].T * clip.logit_scale.exp()
    torch.testing.assert_close(
        weighted(images, text), plain(images, text) * token[..., None, None], atol=1e-4, rtol=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cosines_are_never_rounded(clip, text, images, dtype):
    """Of what the tower has found in half precision, correlation and logits are computed in float32."""
    model = CLIPtrase(clip=clip, regions=REGIONS, class_token_weighting=True)
    with torch.autocast("cpu", dtype):
        features, correlation = model.encode(fitting(images, model))
        logits = model.patch_logits(features, text)
    assert features.patches.dtype == dtype
    assert logits.dtype == correlation.dtype == torch.float32
    torch.testing.assert_close(logits, model.patch_logits(features, text), rtol=0, atol=0)
    parts = [torch.randn(2, 3, 5, 4).to(dtype) for _ in range(3)]
    expected = self_correlation(*(part.float() for part in parts))
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(self_correlation(*parts), expected, rtol=0, atol=0)


def test_half_resolution_is_the_mean_of_four(clip, text, images):
    half = CLIPtrase(clip=clip, fusion="none", input_scale=0.5)
    assert half.size_divisibility == 16
    inputs = fitting(images, half)
    expected = CLIPtrase(clip=clip, fusion="none")(F.avg_pool2d(inputs, 2), text, size=inputs.shape[-2:])
    torch.testing.assert_close(half(inputs, text), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "selfself"}, "unknown attention 'selfself'; known: self, value, plain"),
        ({"fusion": "max"}, "unknown fusion 'max'; known: vote, mean, none"),
    ],
)
def test_mistakes(clip, settings, message):
    with pytest.raises(ValueError, match=message):
        CLIPtrase(clip=clip, **settings)


def test_size_mistake(clip, text):
    with pytest.raises(ValueError, match="41 x 40 px: both sides must be multiples of the patch, 8 px"):
        build(clip, "paper")(torch.zeros(1, 3, 41, 40), text)
