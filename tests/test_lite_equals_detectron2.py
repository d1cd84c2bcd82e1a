"""Lite equals Detectron2 where that is at hand: defaults, augmentations, shares, learning rates, checkpoints."""

import numpy as np
import pytest
import torch
from line_trainer import Trainer, by_hand, parameters, resume, settings, usual_hooks
from torch import nn

from ovss.d2.lite import hooks
from ovss.d2.lite import transforms as lite_T
from ovss.d2.lite.config import get_cfg
from ovss.d2.lite.loader import share
from ovss.d2.lite.lr_scheduler import build_lr_scheduler
from ovss.d2.lite.trainer import DefaultTrainer
from ovss.d2.lite.writers import JSONWriter

pytest.importorskip("detectron2", reason="compares lite with Detectron2, which is not installed")


def test_every_default_is_detectron2s():
    from detectron2.config import get_cfg as real_get_cfg

    def flat(node, prefix=""):
        for key, value in node.items():
            yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]

    real = dict(flat(real_get_cfg()))
    assert {key: real[key] for key, _ in flat(get_cfg())} == dict(flat(get_cfg()))


def test_resize_equals_detectron2_pixel_for_pixel():
    from detectron2.data import transforms as real_T

    rng = np.random.default_rng(1)
    for _ in range(40):
        height, width = rng.integers(3, 90, 2)
        short, longest = int(rng.integers(1, 120)), int(rng.integers(40, 200))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        pair = []
        for T in (lite_T, real_T):
            one = T.AugInput(image, sem_seg=image[..., 0])
            transform = T.AugmentationList([T.ResizeShortestEdge(short, longest)])(one)
            floats = [transform.apply_image(array) for array in (image / 255, image[..., 0] / 255)]
            thin = transform.apply_image(image[..., :1])
            points = transform.apply_coords(np.asarray([[1.0, 2.0]]))
            pair.append((one.image, one.sem_seg, *floats, thin, points))
        for ours, theirs in zip(*pair, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_output_shape_equals_detectron2_for_many_sizes():
    from detectron2.data.transforms import ResizeShortestEdge as Real

    rng = np.random.default_rng(2)
    for height, width, short, longest in rng.integers(1, 3000, (20000, 4)).tolist():
        ours = lite_T.ResizeShortestEdge.get_output_shape(height, width, short, longest)
        assert ours == Real.get_output_shape(height, width, short, longest)


def test_random_sizes_equal_detectron2_for_the_same_seed():
    from detectron2.data import transforms as real_T

    image = np.zeros((30, 40, 3), np.uint8)
    for lengths, style in (((10, 50), "range"), ((10, 20, 30), "choice")):
        sizes = []
        for T in (lite_T, real_T):
            np.random.seed(3)  # noqa: NPY002 (the generator that both draw from)
            policy = T.ResizeShortestEdge(lengths, sample_style=style)
            sizes.append([policy(T.AugInput(image)).new_h for _ in range(20)])
        assert sizes[0] == sizes[1]
        assert len(set(sizes[0])) > 1


def test_share_equals_detectron2():
    from detectron2.data.samplers import InferenceSampler as Real

    for size in range(1, 40):
        for world_size in range(1, 10):
            for rank in range(world_size):
                theirs = Real._get_local_indices(size, world_size, rank)
                assert list(share(size, world_size, rank)) == list(theirs)


def test_crops_and_flips_equal_detectron2_for_the_same_seed():
    from detectron2.data import transforms as real_T

    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, (8, 12)).repeat(5, 0).repeat(5, 1).astype(np.uint8)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    policies = [
        lambda T: T.RandomCrop("absolute", (30, 70)),
        lambda T: T.RandomCrop("relative", (0.33, 0.77)),
        lambda T: T.RandomCrop("relative_range", (0.3, 0.6)),
        lambda T: T.RandomCrop("absolute_range", (10, 50)),
        lambda T: T.RandomCrop_CategoryAreaConstraint("absolute", (10, 12), 0.7),
        lambda T: T.RandomCrop_CategoryAreaConstraint("absolute_range", (5, 20), 0.5, 1),
        lambda T: T.RandomCrop_CategoryAreaConstraint("relative_range", (0.1, 0.1), 1.0),
        lambda T: T.RandomFlip(),
        lambda T: T.RandomFlip(0.3, horizontal=False, vertical=True),
    ]
    for policy in policies:
        pair = []
        for T in (lite_T, real_T):
            np.random.seed(5)  # noqa: NPY002 (the generator that both draw from)
            made = [T.AugInput(image, sem_seg=labels) for _ in range(30)]
            for one in made:
                T.AugmentationList([policy(T)])(one)
            pair.append(made)
        for ours, theirs in zip(*pair, strict=True):
            np.testing.assert_array_equal(ours.image, theirs.image)
            np.testing.assert_array_equal(ours.sem_seg, theirs.sem_seg)
        assert len({one.image.tobytes() for one in pair[0]}) > 1


@pytest.mark.parametrize("name", ["WarmupMultiStepLR", "WarmupCosineLR"])
@pytest.mark.parametrize("warmup", [(0, "linear"), (7, "linear"), (7, "constant"), (90, "linear")])
def test_learning_rates_equal_detectron2(name, warmup):
    from detectron2.config import get_cfg as real_get_cfg
    from detectron2.solver import build_lr_scheduler as real_build

    rates = []
    for cfg, build in ((get_cfg(), build_lr_scheduler), (real_get_cfg(), real_build)):
        cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.BASE_LR_END = 50, (20, 35, 60), 0.0001
        cfg.SOLVER.LR_SCHEDULER_NAME = name
        cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.WARMUP_METHOD = warmup
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.3)
        scheduler = build(cfg, optimizer)
        rates.append([])
        for _ in range(50):
            rates[-1].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    assert rates[0] == rates[1]


@pytest.mark.parametrize("first", ["lite", "detectron2"])
def test_each_engine_resumes_the_checkpoints_of_the_other(first, tmp_path, restored_loggers):
    from detectron2.config import get_cfg as real_get_cfg
    from detectron2.engine import DefaultTrainer as RealTrainer

    methods = {name: vars(Trainer)[name] for name in ("build_model", "build_optimizer", "build_train_loader", "test")}
    cfg = settings(tmp_path, MAX_ITER=6, CHECKPOINT_PERIOD=3)
    real_cfg = real_get_cfg()
    real_cfg.merge_from_other_cfg(cfg)
    trainers = [(DefaultTrainer, cfg), (RealTrainer, real_cfg)][:: 1 if first == "lite" else -1]
    lite_own = {name: vars(Trainer)[name] for name in ("step", "batches", "run_step")}
    lite_own["build_hooks"] = lambda self: usual_hooks(self, hooks, JSONWriter)
    for step, (base, config) in enumerate(trainers):
        trainer = type("Fitting", (base,), methods | (lite_own if base is DefaultTrainer else {}))(config)
        if base is RealTrainer:
            trainer.resume_or_load(resume=True)
        elif step:
            resume(trainer, tmp_path / "model_0000002.pth")
        assert trainer.start_iter == 3 * step
        trainer.train()
        (tmp_path / "last_checkpoint").write_text("model_0000002.pth")
    assert torch.equal(parameters(trainer.model), parameters(by_hand(cfg)[0]))
