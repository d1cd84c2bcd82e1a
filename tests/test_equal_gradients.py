"""N processes with a share of a batch each find the gradient of one process with all of it, as do micro-batches."""

import copy
import math
import warnings

import pytest
import torch
from cat_seg_parts import SmallBackbone, small_first_model, small_model
from processes import in_processes
from small_training import CONFIG, SMALL, as_opts, write_squares
from test_cat_seg_training import crops, segmentor

from cat_seg.backbone import SwinBase
from cat_seg.stochastic_depth import StochasticDepth
from cat_seg.training import set_trainable
from ovss import hub
from ovss.d2.api import comm
from ovss.d2.lite.parallel import create_ddp_model
from ovss.d2.training.step import Step
from ovss.d2.training.trainer import Trainer

SPLITS = [(2, 1), (3, 1), (1, 3), (2, 3)]  # processes, micro-batches of each


class DroppingBackbone(SmallBackbone):
    """With a path that stochastic depth may drop."""

    def __init__(self):
        super().__init__()
        self.drop = StochasticDepth(0.5)

    def forward(self, images):
        coarse, middle, fine = super().forward(images)
        return [coarse + self.drop(coarse.square()), middle, fine]


def build(clip, version, mode, as_negative):
    if version == "second":
        model = small_model(clip)
    else:
        backbone = DroppingBackbone() if version == "first" else SwinBase(resolution=128, drop_path=0.5)
        model = small_first_model(clip, backbone=backbone)
    if mode == "prompt":
        model.clip.visual.add_prompts(3, 2)
    trained = segmentor(model, mode, as_negative)
    set_trainable(model, mode, backbone=version != "second")
    return trained


def six_crops():
    """Two without any label, one with three labelled pixels, one with half of them, two with nearly all."""
    batch = [{**crop, "draw_seed": seed} for seed, crop in enumerate(crops(6))]
    places = torch.arange(64 * 64).view(64, 64)
    for crop, labelled in zip(batch, (0, 0, 3, 2048, 4000, 4096), strict=True):
        crop["sem_seg"] = crop["sem_seg"].where(places < labelled, 255)
    return batch


def gradients(trained, batch, processes=1, accumulate=1):
    """Loss and all gradients of one step in so many processes, in one vector."""
    trained = copy.deepcopy(trained)
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    found = torch.zeros(1 + sum(parameter.numel() for parameter in parameters)).share_memory_()

    def work():
        share = len(batch) // processes
        step = Step(
            model=create_ddp_model(trained),
            optimizer=torch.optim.SGD(parameters, lr=0.0),
            loss_weight=trained.loss_weight,
            clip=lambda: torch.nn.utils.clip_grad_norm_(parameters, math.inf),
            accumulate=accumulate,
        )
        loss = step(batch[comm.get_rank() * share :][:share], 0.0).total
        if comm.is_main_process():
            found.copy_(torch.cat([torch.tensor([loss]), *(parameter.grad.flatten() for parameter in parameters)]))

    work() if processes == 1 else in_processes(processes, work)
    return found


@pytest.fixture
def double():
    """All numbers in float64, where rounding hides nothing."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def check(trained, splits=SPLITS, tolerance=1e-7):
    """Of gradients about as long as 1, each number, and the whole in relation to its length."""
    batch = six_crops()
    whole = gradients(trained, batch)
    assert 0.1 < whole[1:].norm() < 100
    for processes, accumulate in splits:
        apart = gradients(trained, batch, processes, accumulate) - whole
        assert apart.abs().max() < tolerance, (processes, accumulate)
        assert apart.norm() < tolerance * whole.norm(), (processes, accumulate)


@pytest.mark.parametrize(
    ("version", "mode", "as_negative"),
    [
        ("second", "attention", True),
        ("second", "attention", False),
        ("second", "full", False),
        ("second", "prompt", False),
        ("second", "none", False),
        ("first", "image_attention", True),
        ("first", "image_attention", False),
    ],
)
@pytest.mark.usefixtures("double")
def test_a_batch_in_parts(small_clip, version, mode, as_negative):
    check(build(small_clip, version, mode, as_negative).double())


def test_in_single_precision_rounding_is_all_that_differs(small_clip):
    check(build(small_clip, "first", "image_attention", False), tolerance=3e-6)


@pytest.mark.full  # by itself: up to 7 GB in each of three processes
@pytest.mark.usefixtures("double")
def test_a_batch_in_parts_with_swin(small_clip):
    check(build(small_clip, "first, Swin", "image_attention", False).double(), splits=[(2, 1), (3, 1)])


@pytest.mark.parametrize("as_negative", [True, False])
def test_a_batch_without_any_label(small_clip, as_negative):
    """Nothing to learn, or only what there is not; never a division by 0."""
    batch = [{**crop, "sem_seg": torch.full((64, 64), 255)} for crop in six_crops()]
    trained = build(small_clip, "second", "attention", as_negative)
    whole = gradients(trained, batch)
    assert (whole.abs().max() > 0) == as_negative
    assert (gradients(trained, batch, 2) - whole).abs().max() <= 3e-6 * whole.abs().max()


def test_torch_has_nothing_to_warn_of():
    """Of any version, told of buffers as Detectron2's trainer does or not."""

    def work():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for settings in ({}, {"broadcast_buffers": False}):
                create_ddp_model(torch.nn.Linear(1, 1), **settings)

    in_processes(2, work)


@pytest.mark.parametrize("as_negative", [True, False])
def test_whole_runs(as_negative, tmp_path):
    """Three steps of the trainer with its loader, on crops of which some have hardly a label."""
    data = write_squares(tmp_path / "data")
    settings = {
        "DATASETS.TEST": (),
        "LOSS.IGNORED_AS_NEGATIVE": as_negative,
        "SOLVER.IMS_PER_BATCH": 6,
        "SOLVER.MAX_ITER": 3,
        "SOLVER.OPTIMIZER": "SGD",
        "SOLVER.BASE_LR": 0.01,
    }
    ends = {}
    for processes in (1, 2, 3):
        cfg = hub.load(CONFIG, as_opts(SMALL, data, settings, {"OUTPUT_DIR": tmp_path / str(processes)}))

        def work(cfg=cfg):
            torch.manual_seed(3 + comm.get_rank())
            Trainer(cfg).train()

        in_processes(processes, work)
        ends[processes] = torch.load(tmp_path / str(processes) / "model_final.pth", weights_only=True)["model"]
    for processes in (2, 3):
        apart = [(ends[processes][key] - value).abs().max() for key, value in ends[1].items()]
        assert max(apart) < 1e-6
