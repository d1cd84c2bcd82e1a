"""Written files of full-size models: ViT-B/16 with the weights of golden_weights.py, 20 words, the published sizes.

With such weights many scores nearly tie, and rounding decides there: labels are compared where it cannot.
"""

import os
import re
from pathlib import Path

import pytest
import torch
from golden_cat_seg import VOC, encode, published

from cliptrase.model import CLIPtrase, Regions
from ovss.clip.embeddings import embed_rows
from ovss.export.check import example
from ovss.export.fixed import FixedModel
from ovss.export.metadata import read_metadata
from ovss.export.onnx import run_onnx, save_onnx
from ovss.export.program import run_program, save_program, trace
from ovss.templates import prompt_set

MOST_MEMORY = 8 * 10**9
CLEAR = 1e-4  # of the two best scores' difference, where rounding does not decide


def cat_seg(request):
    _, model = published("vitb")
    return model, encode(model, VOC), 384


def cliptrase(request):
    """With an eps at which these weights make many regions."""
    clip = request.getfixturevalue("rule_clip")
    model = CLIPtrase(clip=clip, regions=Regions(eps=0.4, min_points=3)).eval()
    return model, embed_rows(clip, [(word,) for word in VOC], prompt_set("vild"), average=True), 224


@pytest.mark.full
@torch.no_grad()
@pytest.mark.parametrize("build", [cat_seg, cliptrase])
def test_answers_are_the_models(build, request, tmp_path, capsys):
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts at what is held now
    held = memory("RSS")
    model, text, side = build(request)
    classes, size = torch.arange(len(VOC)), (side, side)
    program = trace(FixedModel(model, text, classes, size))
    save_program(program, tmp_path / "model.pt2", '{"model": "full"}')
    save_onnx(program, tmp_path / "model.onnx", '{"model": "full"}')
    for name in ("model.pt2", "model.onnx"):
        assert read_metadata(tmp_path / name) == {"model": "full"}
        assert os.path.getsize(tmp_path / name) < 400e6  # 86 million parameters and the system's, no text tower
    image = example(size)
    for images in (image, torch.cat([image, image.flip(-1), image.flip(-2)])):
        expected = model(images, text, classes, size)
        best = expected.topk(2, dim=1).values
        clear = best[:, 0] - best[:, 1] > CLEAR
        with capsys.disabled():
            print(f"\n{build.__name__}, batch of {len(images)}: {clear.double().mean():.1%} of the pixels are clear")
        assert clear.double().mean() > 0.5
        for found in (run_program(tmp_path / "model.pt2", images), run_onnx(tmp_path / "model.onnx", images)):
            assert torch.equal(found[1][clear], expected.max(dim=1).indices[clear])
            # A pixel on the border of two regions may be in the other one by rounding, which moves all shares of both.
            differences = (found[0] - expected).abs()
            assert differences.max() < (0.01 if build is cliptrase else 1e-5)
            assert (differences < 1e-5).double().mean() > 0.99
    assert memory("HWM") - held < MOST_MEMORY


def memory(kind):
    """Bytes of this process: RSS, what it holds, or HWM, the most that it held. Linux alone."""
    return int(re.search(rf"^Vm{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1]) * 1024
