"""Devices as a table, and real runs in two processes on the CPU, on Detectron2 and on lite alike."""

import argparse
import json
import os

import pytest
import torch

from ovss.d2 import devices
from ovss.d2.api import build_detection_test_loader, comm, default_argument_parser
from ovss.d2.devices import launch_main, resolve_devices


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


def arguments(num_gpus, folder, **more):
    args = default_argument_parser().parse_args(["--num-gpus", str(num_gpus)])
    return argparse.Namespace(**{**vars(args), **more}, folder=str(folder))


def identity(record):
    return record


def report(args, device):
    """What one process of a run knows; the main one writes what all of them know."""
    loader = build_detection_test_loader([{"value": value} for value in range(5)], mapper=identity)
    comm.synchronize()
    mine = {
        "rank": comm.get_rank(),
        "world": comm.get_world_size(),
        "main": comm.is_main_process(),
        "device": device,
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "values": [record["value"] for batch in loader for record in batch],
    }
    everything = comm.all_gather(mine)
    gathered = comm.gather(mine)
    if comm.is_main_process():
        with open(os.path.join(args.folder, "report.json"), "w", encoding="utf-8") as file:
            json.dump({"all_gather": everything, "gather": gathered}, file)
    else:
        assert gathered == []


def read(folder):
    return json.loads((folder / "report.json").read_text())


def test_two_processes_share_the_work_and_gather_in_rank_order(tmp_path):
    before = dict(os.environ)
    launch_main(report, arguments(2, tmp_path), "cpu")
    told = read(tmp_path)
    common = {"world": 2, "device": "cpu", "visible": ""}  # a launch that sees a GPU would take nccl
    assert told["gather"] == [
        {"rank": 0, "main": True, "values": [0, 1, 2], **common},
        {"rank": 1, "main": False, "values": [3, 4], **common},
    ]
    assert told["all_gather"] == told["gather"]
    assert dict(os.environ) == before


def fail_on_rank_1(args, device):
    if comm.get_rank() == 1:
        raise RuntimeError("rank one is unwell")
    comm.synchronize()


def test_a_failing_process_ends_the_run_with_its_own_error(tmp_path):
    with pytest.raises(Exception, match="rank one is unwell"):
        launch_main(fail_on_rank_1, arguments(2, tmp_path), "cpu")


@pytest.mark.parametrize("num_gpus", [0, 1])
def test_no_gpu_means_this_process_on_the_cpu_said_once(num_gpus, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    launch_main(report, arguments(num_gpus, tmp_path), "cuda")
    (told,) = read(tmp_path)["gather"]
    assert (told["world"], told["main"], told["device"], told["values"]) == (1, True, "cpu", [0, 1, 2, 3, 4])
    assert [record.message for record in caplog.records if "running on the CPU" in record.message] == [
        f"--num-gpus {num_gpus} on 0 GPUs: running on the CPU"
    ]


def test_runs_at_once_meet_at_different_places_unless_told_where(tmp_path):
    args = arguments(2, tmp_path)
    with devices._meeting_point(args) as first, devices._meeting_point(args) as second:
        assert first != second
        assert {first[:7], second[:7]} == {"file://"}
        assert os.path.isdir(os.path.dirname(first[7:]))
    assert not os.path.exists(os.path.dirname(first[7:]))
    for told in (arguments(2, tmp_path, dist_url="tcp://127.0.0.1:4567"), arguments(2, tmp_path, num_machines=2)):
        with devices._meeting_point(told) as place:
            assert place == told.dist_url
