"""Parity of the first version with the authors' code on the full set beside the checkout: both backbones, all parts.

Tolerances: two fp32 implementations, 1e-4 of a tensor's largest value (backbones 5e-5), 5e-5 of a probability.
"""

import numpy as np
import pytest
import skimage.data
import torch
from golden_cat_seg import PADDING, TEXT_GUIDANCE, VOC, check_answer, close, encode, published, run, views
from golden_probe import Probe

pytestmark = pytest.mark.full
PARTS = {
    *("backbone_input", "clip_input", "res2", "res3", "res4", "clip_features", "corr", "corr_embed"),
    *("proj_guidance", "proj_decoder_guidance0", "proj_decoder_guidance1", "proj_text_guidance"),
    *("layer0_swin", "layer0", "layer1_swin", "layer1", "decoder1", "decoder2", "logits"),
}


@pytest.fixture(scope="module", params=["r101", "swinb"])
def full(request, shared):
    """Model, embeddings of VOC's words and expected tensors; the names of the weights are the authors'."""
    folder, name = shared / "golden", f"catseg_v1_{request.param}"
    cfg, model = published(request.param, folder / f"{name}_keys.json")
    text = encode(model, VOC, cfg.MODEL.TEXT.PROMPTS, cfg.MODEL.TEXT.SYNONYMS)
    return model, text, np.load(folder / f"{name}.npz"), np.load(folder / f"{name}_extra.npz")


def test_text(full):
    model, text, expected, _ = full
    close(text[:5].numpy(), expected["text/test_first5"])
    close(text.mean(dim=1).numpy(), expected["text/test_promptmean"])
    synonyms = encode(model, expected["text/synonyms_names"].tolist(), "imagenet", "average")
    close(synonyms[:, ::4].transpose(0, 1).numpy(), expected["text/synonyms_promptstride4"])


@torch.no_grad()
@pytest.mark.parametrize("mode", ["plain", "sw"])
def test_answers(full, mode):
    model, text, expected, _ = full
    image = skimage.data.astronaut()
    given = views(image, mode)
    close(model.prepare(given, PADDING[mode])[..., ::8, ::8].numpy(), expected[f"{mode}/clip_input_stride8"])
    copy = model.guidance.prepare(given, PADDING[mode])
    close(copy[..., ::8, ::8].numpy(), expected[f"{mode}/backbone_input_stride8"])
    with Probe(expected, mode).watching(model) as probe:
        logits, answer = run(model, image, text, mode)
    assert probe.compared == PARTS
    close(logits[..., ::4, ::4], expected[f"{mode}/logits_stride4"])
    check_answer(answer, expected, mode)


@torch.no_grad()
@pytest.mark.parametrize("case", ["astronaut_plain5", "chelsea_plain", "chelsea_sw", "tg100"])
def test_five_classes(full, case):
    """A photo that the plain path pads, and text guidance that is strong enough to show."""
    model, text, _, expected = full
    image = skimage.data.chelsea() if case.startswith("chelsea") else skimage.data.astronaut()
    mode = "sw" if case.endswith("sw") else "plain"
    weight = model.get_parameter(TEXT_GUIDANCE)
    factor = 100 if case == "tg100" else 1
    weight.data *= factor
    with Probe(expected, case).watching(model) as probe:
        logits, answer = run(model, image, text[:5], mode)
    weight.data /= factor
    assert probe.compared == PARTS
    close(logits[..., ::2, ::2], expected[f"{case}/logits_stride2"])
    assert list(answer.shape) == list(expected[f"{case}/out_shape"])
    close(answer[:, ::2, ::2], expected[f"{case}/sem_seg_stride2"].astype(np.float32), absolute=1e-3)
