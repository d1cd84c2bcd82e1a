"""Activation checkpointing changes memory and time, nothing else: gradients are the same to the last bit."""

import copy

import pytest
import torch
from cat_seg_parts import small_first_model, small_model, small_text
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from cat_seg import aggregation
from cat_seg.backbone import ResNet101, SwinBase
from cat_seg.d2 import CATSeg
from cat_seg.training import set_checkpointed, set_trainable
from ovss.checkpointing import recomputed
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.parse("cat, wall, sea")
ALL = ("clip", "aggregator", "decoder")


class Counter(TorchDispatchMode):
    """Counts the calls of an operator."""

    def __init__(self, name):
        super().__init__()
        self.name, self.calls = name, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += function._schema.name == self.name
        return function(*args, **(kwargs or {}))


def kept_numbers(function):
    """Numbers that the backward pass of what a function returns keeps, parameters included."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()  # noqa: F841  what is kept lives as long as it
    return sum(storages.values())


def crops(count, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator),
            "sem_seg": torch.randint(0, 3, (size, size), generator=generator),
            "vocabulary": WORDS,
        }
        for _ in range(count)
    ]


def segmentor(model, finetune="attention", backbone=False):
    set_trainable(model, finetune, backbone)
    parts = {"prompts": ["a {} in the scene"], "average_prompts": False, "synonyms": "first"}
    return CATSeg(model=model, ignore_label=255, ignored_as_negative=True, **parts).train()


def gradients(trained, parts, autocast=None):
    """Loss and gradients of a copy of a segmentor with these parts checkpointed."""
    trained = copy.deepcopy(trained)
    set_checkpointed(trained.model, parts)
    torch.manual_seed(3)
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        loss = trained(crops(2))["loss_sem_seg"]
    loss.backward()
    return [loss.detach(), *(value.grad for value in trained.parameters() if value.requires_grad)]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_runs_again_for_gradients_alone():
    """Sine runs in the forward pass and again in the backward pass, with the same draws; without gradients once."""
    x = torch.ones(4, requires_grad=True)

    def noisy(values):
        return values.sin() * torch.rand(4)

    for when, calls in ((True, 2), (False, 1)):
        torch.manual_seed(0)
        with Counter("aten::sin") as counter:
            result = recomputed(when, noisy, x)
            torch.rand(1)  # the generator has moved on when it runs again
            gradient = torch.autograd.grad(result.sum(), x)[0]
        assert counter.calls == calls
        torch.testing.assert_close(gradient, result.detach() / torch.ones(4).sin() * torch.ones(4).cos())
    with torch.no_grad(), Counter("aten::sin") as counter:
        recomputed(True, noisy, x)
    assert counter.calls == 1


@pytest.mark.parametrize("parts", [("clip",), ("aggregator",), ("decoder",), ALL])
@pytest.mark.parametrize("finetune", ["attention", "full"])
def test_gradients_are_the_same(small_clip, parts, finetune):
    trained = segmentor(small_model(small_clip), finetune)
    assert_equal(gradients(trained, parts), gradients(trained, ()))


def test_gradients_are_the_same_in_mixed_precision(small_clip):
    trained = segmentor(small_model(small_clip))
    assert_equal(gradients(trained, ALL, torch.bfloat16), gradients(trained, (), torch.bfloat16))


def test_gradients_of_learned_prompts_are_the_same(small_clip):
    model = small_model(small_clip)
    model.clip.visual.add_prompts(2, 3)
    trained = segmentor(model, "prompt")
    assert_equal(gradients(trained, ALL), gradients(trained, ()))


@pytest.mark.parametrize("network", ["resnet101", "swin"])
def test_gradients_of_the_first_version_are_the_same(small_clip, network):
    """Swin with stochastic depth that the passes draw: what ran first and what runs again drop the same."""
    backbone = ResNet101() if network == "resnet101" else SwinBase(resolution=128, drop_path=0.5)
    trained = segmentor(small_first_model(small_clip, backbone=backbone), "image_attention", backbone=True)
    assert_equal(gradients(trained, (*ALL, "backbone")), gradients(trained, ()))


def test_a_few_classes_at_a_time(small_clip, monkeypatch):
    """Two crops, so one class of each at a time: sums over classes are taken in another order."""
    trained = segmentor(small_model(small_clip))
    expected = gradients(trained, ())
    monkeypatch.setattr(aggregation, "CPU_MAPS", 2)
    for found, value in zip(gradients(trained, ALL), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-6)


def test_each_part_keeps_less(small_clip):
    model = small_model(small_clip, class_tokens=0)
    set_trainable(model, "full")
    images, text = torch.rand(1, 3, 64, 64), small_text(20)
    tokens = model.clip.tokenizer(["a cat", "a longer wall"])

    def kept(*parts):
        set_checkpointed(model, parts)
        return kept_numbers(lambda: (model.logits(images, text), model.clip.text(tokens)))

    plain = kept()
    assert all(kept(part) < 0.97 * plain for part in ALL)
    assert kept(*ALL) < 0.1 * plain
    assert kept() == plain, "what is no longer asked for is no longer checkpointed"


def test_unknown_parts_are_named(small_clip):
    with pytest.raises(ValueError, match="no part 'text' to checkpoint in this model; it has: clip, aggregator, dec"):
        set_checkpointed(small_model(small_clip), ("text",))
    with pytest.raises(ValueError, match="no part 'backbone'"):
        set_checkpointed(small_model(small_clip), ("backbone",))
    set_checkpointed(small_first_model(small_clip), ("backbone",))


def in_process(rank, trained, place, expected):
    """One of two processes, with a crop each; every gradient comes, and is that of both crops without checkpoints."""
    torch.distributed.init_process_group("gloo", f"file://{place}", rank=rank, world_size=2)
    set_checkpointed(trained.model, ALL)
    parallel = DistributedDataParallel(trained)
    parallel(crops(2)[rank : rank + 1])["loss_sem_seg"].backward()
    found = [value.grad for value in trained.parameters() if value.requires_grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes(small_clip, tmp_path):
    trained = segmentor(small_model(small_clip))
    _, *expected = gradients(trained, ())
    torch.multiprocessing.spawn(in_process, (trained, tmp_path / "group", expected), nprocs=2)
