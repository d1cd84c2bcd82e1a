"""Devices as a table: what `--num-gpus`, MODEL.DEVICE and the machine's GPUs come to."""

import pytest

from ovss.d2.processes.devices import resolve_devices


@pytest.mark.parametrize(
    ("num_gpus", "device", "cuda_count", "expected"),
    [
        (0, "cuda", 0, (1, "cpu")),
        (0, "cuda", 8, (1, "cpu")),
        (0, "cpu", 8, (1, "cpu")),
        (1, "cuda", 0, (1, "cpu")),
        (1, "cuda", 1, (1, "cuda")),
        (1, "cuda:1", 2, (1, "cuda:1")),
        (1, "cuda:1", 0, (1, "cpu")),
        (1, "cpu", 1, (1, "cpu")),
        (2, "cpu", 0, (2, "cpu")),
        (2, "cpu", 8, (2, "cpu")),
        (9, "cpu", 8, (9, "cpu")),
        (2, "cuda", 2, (2, "cuda")),
        (2, "cuda", 8, (2, "cuda")),
    ],
)
def test_resolve_devices(num_gpus, device, cuda_count, expected):
    assert resolve_devices(num_gpus, device, cuda_count) == expected


@pytest.mark.parametrize(
    ("num_gpus", "device", "cuda_count", "message"),
    [
        (2, "cuda", 0, "--num-gpus 2, but this machine has 0.*MODEL.DEVICE cpu"),
        (4, "cuda", 2, "--num-gpus 4, but this machine has 2"),
        (2, "cuda:0", 2, "--num-gpus 2, but MODEL.DEVICE cuda:0"),
        (1, "cuda:2", 2, "cuda:2, but this machine has 2"),
        (-1, "cpu", 0, "--num-gpus -1"),
        (1, "gpu", 1, "'gpu' is unknown; known: cpu, cuda"),
    ],
)
def test_resolve_devices_refuses(num_gpus, device, cuda_count, message):
    with pytest.raises(ValueError, match=message):
        resolve_devices(num_gpus, device, cuda_count)


def test_the_message_names_the_option_that_was_given():
    with pytest.raises(ValueError, match=r"^--nproc-per-node 2, but this machine has 1"):
        resolve_devices(2, "cuda", 1, "--nproc-per-node")
