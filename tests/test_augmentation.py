"""Test-time augmentation: against segmentors whose answer is known by heart, and against both systems."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from cat_seg_parts import small_model
from test_segmentor import request
from torch import nn

from cliptrase.model import CLIPtrase, Regions
from ovss import hub
from ovss.d2.api import build_model
from ovss.d2.augmentation import AugmentedSegmentor, augmented
from ovss.d2.evaluator import evaluate
from ovss.d2.mapper import InputTransform
from ovss.d2.segmentor import Segmentor
from ovss.sliding_window import SlidingWindow

ROOT = Path(__file__).parent.parent


class Ramp(nn.Module):
    """One class: the red channel plus the column from the left, so that views differ; notes the sizes it is given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, batched_inputs):
        self.seen.append([tuple(item["image"].shape[-2:]) for item in batched_inputs])
        return [{"sem_seg": self.score(item)} for item in batched_inputs]

    def score(self, item):
        red = item["image"][None, :1].float() + torch.arange(item["image"].shape[-1])
        return F.interpolate(red, (item["height"], item["width"]), mode="bilinear", align_corners=False)[0]


def views(segmentor, *sizes, flip=False):
    resizes = [InputTransform(min_size=size, max_size=100) for size in sizes]
    return AugmentedSegmentor(segmentor, resizes=resizes, flip=flip)


@pytest.fixture(params=["CLIPtrase", "CAT-Seg", "CAT-Seg on windows"])
def segmentor(request, small_clip):
    parts = {"prompts": ["a {}."], "synonyms": "first", "size_fit": "resize"}
    if request.param == "CLIPtrase":
        model = CLIPtrase(clip=small_clip, regions=Regions(eps=1.05, min_points=2))
        return Segmentor(model=model, average_prompts=True, **parts).eval()
    window = SlidingWindow((48, 48), 32, 0.5) if "windows" in request.param else None
    model = small_model(small_clip, pad_to=8)
    return Segmentor(model=model, average_prompts=False, sliding_window=window, **parts).eval()


def test_mean_by_hand():
    """A black picture of 2 x 4: columns 0 1 2 3 and, mirrored, 3 2 1 0 have the mean 1.5."""
    black = {"image": torch.zeros(3, 2, 4, dtype=torch.uint8), "height": 2, "width": 4}
    (answer,) = views(Ramp(), 2, flip=True)([black])
    assert torch.equal(answer["sem_seg"], torch.full((1, 2, 4), 1.5))
    (answer,) = views(Ramp(), 2, 4)([black])  # at twice the size: 0.5 2.5 4.5 6.5
    torch.testing.assert_close(answer["sem_seg"][0, 0], torch.tensor([0.25, 1.75, 3.25, 4.75]))


def test_sizes_are_those_of_the_test_resize():
    ramp = Ramp()
    views(ramp, 30, 60, flip=True)([request((40, 56)), request((33, 61))])
    assert ramp.seen == [[(30, 42), (30, 55)]] * 2 + [[(60, 84), (54, 100)]] * 2


def test_one_size_without_flip_changes_nothing(segmentor):
    item = request((40, 56), height=31, width=45)
    expected = segmentor([item])[0]["sem_seg"]
    assert torch.equal(views(segmentor, 40)([item])[0]["sem_seg"], expected)
    assert torch.equal(segmentor([item])[0]["sem_seg"], expected), "nor does it touch what the segmentor keeps"


def test_the_answer_of_a_mirrored_picture_is_the_mirrored_answer(segmentor):
    item = request((40, 56), height=31, width=45)
    mirrored = {**item, "image": item["image"].flip(-1)}
    plain, augmentation = segmentor([item])[0]["sem_seg"], views(segmentor, 40, flip=True)
    found = augmentation([item])[0]["sem_seg"]
    assert not torch.allclose(found, plain)
    assert torch.equal(augmentation([mirrored])[0]["sem_seg"], found.flip(-1))


def test_batch_equals_single(segmentor):
    augmentation = views(segmentor, 40, 64, flip=True)
    requests = [request((40, 56), 1), request((33, 61), 2, height=20, width=31), request((40, 56), 3)]
    together = augmentation(requests)
    assert [tuple(answer["sem_seg"].shape) for answer in together] == [(3, 40, 56), (3, 20, 31), (3, 40, 56)]
    for alone, answer in zip(requests, together, strict=True):
        torch.testing.assert_close(augmentation([alone])[0]["sem_seg"], answer["sem_seg"], atol=1e-4, rtol=1e-4)


QUICKSTART = str(ROOT / "configs/quickstart/maskclip.yaml")
OPTS = ["MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0", "TEST.AUG.ENABLED", "True"]


def load(sizes, flip=True, more=()):
    return hub.load(QUICKSTART, [*OPTS, "TEST.AUG.MIN_SIZES", sizes, "TEST.AUG.FLIP", str(flip), *more])


@pytest.mark.parametrize(
    ("sizes", "flip", "name"),
    [("(96, 128)", True, "ms+flip"), ("(96, 128)", False, "ms"), ("(128,)", True, "flip"), ("(96,)", False, "96 px")],
)
def test_names(sizes, flip, name):
    assert augmented(load(sizes, flip), nn.Identity()).name == name


def test_it_follows_the_mode_of_the_segmentor():
    assert not augmented(load("(96,)"), nn.Identity().eval()).training
    plain = nn.Identity()
    assert augmented(hub.load(QUICKSTART), plain) is plain


@pytest.mark.parametrize("sizes", ["()", "(0, 128)", "(128, 5000)"])
def test_sizes_that_make_no_sense(sizes):
    with pytest.raises(ValueError, match=r"TEST.AUG.MIN_SIZES .* and MAX_SIZE 4000: expected at least one size"):
        augmented(load(sizes), nn.Identity())


def test_results_say_so(tmp_path, monkeypatch):
    """On the drawn scenes, the first eight of them: named in the table, in a folder of their own, and not the same."""
    from ovss.d2.api import DatasetCatalog

    records = DatasetCatalog.get("scenes_val")[:8]
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: records)
    cfg = load("(96, 128)", more=["OUTPUT_DIR", str(tmp_path)])
    model = build_model(cfg).eval()
    ((name, found),) = evaluate(cfg, model).items()
    assert name == "scenes_val, ms+flip"
    assert json.loads((tmp_path / "inference_TTA/scenes_val.json").read_text())["scores"] == found
    plain = evaluate(load("(96,)", more=["OUTPUT_DIR", str(tmp_path), "TEST.AUG.ENABLED", "False"]), model)
    assert list(plain) == ["scenes_val"]
    assert plain["scenes_val"]["pAcc"] != found["pAcc"]


def test_the_predictor_takes_it():
    picture = request((128, 160))["image"].permute(1, 2, 0).numpy()
    more = ["TEST.AUG.MIN_SIZES", "(96, 128)", *OPTS]
    found = hub.build_predictor(QUICKSTART, more)(picture)
    plain = hub.build_predictor(QUICKSTART, OPTS[:4])(picture)
    assert found.labels.shape == plain.labels.shape == (128, 160)
    assert (found.scores != plain.scores).any()
